"""From a machine's facts to what follows for local models, as data."""

from __future__ import annotations

import importlib.util
from typing import Any

from promptflow_lite.catalog import Machine
from promptflow_lite.engine import EngineSettings

_OPTIONAL = {
    "local": ("llama_cpp", "running local models"),
    "hub": ("huggingface_hub", "downloading models from a hub"),
    "serve": ("fastapi", "serving flows and models"),
    "data": ("pandas", "data files beyond JSONL"),
    "eval": ("scipy", "statistics of evaluations"),
    "ui": ("streamlit", "the studio"),
}


def diagnose(machine: Machine, models: list[dict[str, Any]]) -> dict[str, Any]:
    """The machine, the engine's build, the settings that follow, and what to change."""
    build = _engine_build()
    extras = {name: importlib.util.find_spec(module) is not None for name, (module, _use) in _OPTIONAL.items()}
    defaults = EngineSettings()
    return {
        "machine": {
            "system": machine.system,
            "processor": machine.processor,
            "cores": machine.cores_usable,
            "cores_total": machine.cores_total,
            "instructions": list(machine.instructions),
            "memory_bytes": machine.memory_bytes,
            "memory_available_bytes": machine.memory_available_bytes,
            "load": machine.load,
        },
        "engine": build,
        "settings": {
            "n_threads": machine.cores_usable,
            "n_gpu_layers": -1 if build["gpu"] else 0,
            "flash_attention": bool(build["gpu"]),
            "max_rows": defaults.max_rows,
            "step_tokens": 512 if build["gpu"] else defaults.step_tokens,
        },
        "extras": extras,
        "models": [{"name": model["name"], "fit": model["fit"]} for model in models],
        "advice": _advice(machine, build, extras, models),
    }


def _engine_build() -> dict[str, Any]:
    if importlib.util.find_spec("llama_cpp") is None:
        return {"installed": False, "version": None, "gpu": False, "features": []}

    from promptflow_lite.engine.bindings import describe_build

    return describe_build()


def _advice(
    machine: Machine, build: dict[str, Any], extras: dict[str, bool], models: list[dict[str, Any]]
) -> list[str]:
    advice = []
    if not build["installed"]:
        advice.append("Local models need the engine: pip install 'promptflow-lite[local]'.")
    elif not models:
        advice.append("No local model is here: pfl model pull smollm2-135m.")
    if machine.load is not None and machine.load > machine.cores_usable * 1.5:
        advice.append(
            f"{machine.load:.1f} processes want {machine.cores_usable} cores: local models lose more than their share; "
            "stop other work or lower PFL_ENGINE_N_THREADS."
        )
    missing = {"AVX2": "avx2", "AVX512": "avx512f", "AVX512_VNNI": "avx512_vnni"}
    for feature, flag in missing.items():
        if build["installed"] and flag in machine.instructions and feature not in build["features"]:
            advice.append(
                f"The processor has {feature}, the engine was built without: "
                "pip install --force-reinstall --no-binary llama-cpp-python llama-cpp-python."
            )
    advice += [f"{model['name']} is {model['fit']} for this memory." for model in models if model["fit"] != "fits"]
    advice += [
        f"Not installed: {_OPTIONAL[name][1]} (pip install 'promptflow-lite[{name}]')."
        for name, is_there in extras.items()
        if not is_there and name != "local"
    ]
    return advice
