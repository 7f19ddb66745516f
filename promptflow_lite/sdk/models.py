"""Operations on models: list, look at, fetch, try, measure."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptflow_lite.catalog import (
    ModelCard,
    ModelIndex,
    bundled_models,
    choose_file,
    default_model,
    describe_machine,
    download,
    list_files,
    models_folder,
    read_card,
    resolve_model,
    search_hub,
)
from promptflow_lite.errors import ModelNotFoundError, SDKError

if TYPE_CHECKING:
    from promptflow_lite.records import RunRecord
    from promptflow_lite.sdk.connections import ConnectionOperations
    from promptflow_lite.store import Store

BENCH_PROMPT_TOKENS = 256
BENCH_NEW_TOKENS = 16
_N_RUNS_ON_CARD = 500
"""Newest runs that a card looks through for evaluations."""


class ModelOperations:
    """Models of this machine, and those an endpoint offers."""

    def __init__(self, connections: ConnectionOperations | None = None, store: Store | None = None) -> None:
        self._connections = connections
        self._store = store
        self._index = ModelIndex()

    # --- looking -------------------------------------------------------------------------------------------------

    def list(self) -> Sequence[ModelCard]:
        """Cards of every model that is here, by name."""
        content = self._index.read()
        names = {model.name for model in bundled_models() if model.path} | {
            name for name, entry in content["models"].items() if entry["path"] and Path(entry["path"]).is_file()
        }
        return [self.show(name, checksum=False) for name in sorted(names)]

    def list_endpoint(self, connection: str) -> Sequence[dict[str, Any]]:
        """What an OpenAI-compatible endpoint's `/models` says."""
        import openai

        if self._connections is None:
            raise SDKError("Listing an endpoint's models needs stored connections.")

        stored = self._connections.get(connection)
        values = {**stored.configs, **stored.secrets}
        address = values.get("base_url") or values.get("api_base")
        client = openai.OpenAI(base_url=address, api_key=values.get("api_key") or "none", max_retries=0)
        try:
            return [model.to_dict() for model in client.models.list()]
        except openai.OpenAIError as error:
            raise SDKError(f"The endpoint of {connection!r} does not list its models: {error}") from error

    def search(self, text: str, *, hub: bool = False) -> Sequence[dict[str, Any]]:
        """Models that match a text: those known here, and on request those of the hub."""
        wanted = text.lower()
        known = [
            {"name": model.name, "source": "package", "installed": model.path is not None, "licence": model.licence}
            for model in bundled_models()
            if wanted in model.name.lower()
        ]
        added = [
            {"name": name, "source": entry["source"], "installed": True, "licence": None}
            for name, entry in self._index.read()["models"].items()
            if wanted in name.lower() and entry["path"]
        ]
        return known + added + (search_hub(text) if hub else [])

    def show(self, name: str | None = None, *, checksum: bool = True) -> ModelCard:
        """The card of a model or of a GGUF file."""
        name = name or default_model()
        path = resolve_model(name)
        content = self._index.read()
        target = content["aliases"].get(name, name)
        entry = content["models"].get(target, {})
        bundled = next((model for model in bundled_models() if model.name == target), None)
        source = "bundled" if bundled else entry.get("source", "file")
        card = read_card(target, path, source=source, licence=bundled.licence if bundled else None)
        sha256 = self._index.checksum(path) if checksum else None
        details = dict(entry.get("details", {}))
        if evaluations := {**details.get("evaluations", {}), **self._metrics_of_runs(sha256)}:
            details["evaluations"] = evaluations
        aliases = tuple(alias for alias, model in content["aliases"].items() if model == target)
        return dataclasses.replace(
            card,
            aliases=aliases,
            details=details,
            sha256=sha256,
        )

    def _metrics_of_runs(self, sha256: str | None) -> dict[str, dict[str, Any]]:
        """Metrics of stored runs that this very file answered, itself or through the run they evaluate."""
        if self._store is None or sha256 is None:
            return {}

        runs = {run.name: run for run in self._store.runs.list(_N_RUNS_ON_CARD)}

        def asked(run: RunRecord | None) -> bool:
            return run is not None and any(model["sha256"] == sha256 for model in run.properties.get("models", ()))

        return {
            run.name: dict(run.metrics)
            for run in runs.values()
            if run.metrics and (asked(runs.get(run.run)) if run.run else asked(run))
        }

    # --- changing ------------------------------------------------------------------------------------------------

    def add(self, path: str | Path, name: str | None = None) -> ModelCard:
        """Register a GGUF file where it lies."""
        file = Path(path).expanduser().resolve()
        card = read_card(name or file.stem, file, source="file")
        self._index.add(card.name, file, source="file")
        return self.show(card.name)

    def pull(
        self,
        wanted: str,
        *,
        file: str | None = None,
        name: str | None = None,
        report: Callable[[int, int | None], None] | None = None,
    ) -> ModelCard:
        """Fetch a model: a bundled name, or `owner/repository` of the hub.

        Args:
            wanted: What to fetch.
            file: Name or pattern of the file, when the repository has several.
            name: Name to keep it under.
            report: Told the bytes that are here and those of the whole file while it comes from the hub.
        """
        bundled = next((model for model in bundled_models() if model.name == wanted), None)
        if bundled is not None:
            if bundled.path is None:
                _install(bundled.distribution)
            return self.show(wanted)

        repository = wanted.removeprefix("hf:")
        if repository.count("/") != 1:
            raise ModelNotFoundError(
                f"{wanted!r} is neither a bundled model nor owner/repository of a hub.", hint="See pfl model search."
            )

        chosen = choose_file(list_files(repository), file)
        path = download(chosen, report)
        registered = name or path.stem.lower()
        self._index.add(
            registered, path, source="hub", repository=repository, revision=chosen.revision, licence=chosen.licence
        )
        return self.show(registered)

    def remove(self, name: str, *, keep_file: bool = False) -> bool:
        """Forget an added model; its file is deleted only if it was downloaded. Returns whether it was deleted."""
        entry = self._index.remove(name)
        path = Path(entry["path"] or "")
        is_ours = entry["source"] == "hub" and models_folder().resolve() in path.resolve().parents
        if is_ours and not keep_file and path.is_file():
            path.unlink()
            return True

        return False

    def alias(self, alias: str, name: str) -> None:
        """Give a model a second name."""
        resolve_model(name)
        self._index.set_alias(alias, name)

    def record_evaluation(self, name: str, evaluation: str, metrics: dict[str, float]) -> None:
        """Keep the metrics of an own evaluation on the model's card."""
        resolve_model(name)
        known = self._index.read()["models"].get(name, {}).get("details", {}).get("evaluations", {})
        self._index.record(name, evaluations={**known, evaluation: metrics})

    # --- using ---------------------------------------------------------------------------------------------------

    def run(self, prompt: str, name: str | None = None, **options: Any) -> Iterator[str]:
        """The model's answer to one message, as it is generated."""
        from promptflow_lite.providers.local import local_client

        body = {"messages": [{"role": "user", "content": prompt}], **options}
        for chunk in local_client(name).stream_chat(body):
            for choice in chunk["choices"]:
                yield choice["delta"].get("content") or ""

    def bench(self, name: str | None = None, *, batch_sizes: Sequence[int] = (1, 4, 16)) -> Iterator[dict[str, Any]]:
        """Prompt and generation speed at several numbers of rows together, in tokens a second, as they are measured."""
        from promptflow_lite.engine import EngineSettings, shared_engine

        path = resolve_model(name)
        engine = shared_engine(path, EngineSettings(max_rows=max(batch_sizes)))
        for n_rows in batch_sizes:
            yield _measure(engine, n_rows)

    def doctor(self) -> dict[str, Any]:
        """What this machine has, which engine settings follow, and what to change."""
        from promptflow_lite.sdk.diagnosis import diagnose

        return diagnose(describe_machine(), [card.to_dict() for card in self.list()])


def _install(distribution: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--no-deps", distribution]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed name of ours
    if done.returncode != 0:
        raise SDKError(
            f"pip could not install {distribution!r}: {done.stderr.strip()[-500:]}", command=" ".join(command)
        )


def _measure(engine: Any, n_rows: int) -> dict[str, Any]:
    """One batch size: distinct prompts, so nothing is found in the cache."""
    from promptflow_lite.engine import Generation
    from promptflow_lite.engine.sampling import SamplingSettings

    sampling = SamplingSettings(temperature=0.0)
    first = 1000 + 997 * n_rows
    prompts = [
        [(first + row * 131 + k * 17) % (engine.model.n_vocab - 500) + 300 for k in range(BENCH_PROMPT_TOKENS)]
        for row in range(n_rows)
    ]
    prefill_s = _timed(engine, [Generation(tokens=prompt, sampling=sampling, max_tokens=1) for prompt in prompts])
    whole_s = _timed(
        engine,
        [Generation(tokens=[row + 300], sampling=sampling, max_tokens=BENCH_NEW_TOKENS) for row in range(n_rows)],
    )
    return {
        "rows": n_rows,
        "prompt_tokens_per_s": round(n_rows * BENCH_PROMPT_TOKENS / prefill_s, 1),
        "generated_tokens_per_s": round(n_rows * BENCH_NEW_TOKENS / whole_s, 1),
    }


def _timed(engine: Any, requests: list[Any]) -> float:
    started = time.perf_counter()
    tickets = [engine.generate(request) for request in requests]
    for ticket in tickets:
        for _event in ticket:
            pass
    return time.perf_counter() - started
