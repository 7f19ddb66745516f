"""A model's name to its file."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from promptflow_lite import settings
from promptflow_lite._utils.text import did_you_mean
from promptflow_lite.catalog.bundled import BundledModel, bundled_models
from promptflow_lite.catalog.index import ModelIndex
from promptflow_lite.errors import ModelNotFoundError


def default_model() -> str:
    """The model used when none is named: `PFL_MODEL`, else the first bundled one that is installed."""
    installed = (model.name for model in bundled_models() if model.path)
    return settings.env("PFL_MODEL") or next(installed, bundled_models()[0].name)


def resolve_model(name: str | None = None) -> Path:
    """The GGUF file of a model.

    Args:
        name: An added or bundled model's name, an alias, or the path of a file; None for the default model.
    Raises:
        ModelNotFoundError: nothing of that name is here.
    """
    name = name or default_model()
    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return path

    index = ModelIndex().read()
    target = index["aliases"].get(name, name)
    added = index["models"].get(target, {}).get("path")
    if added:
        return _present(target, Path(added))

    for model in bundled_models():
        if model.name == target:
            return _installed(model)

    known = [*index["models"], *index["aliases"], *(model.name for model in bundled_models())]
    raise ModelNotFoundError(f"No model is named {name!r}.", hint=did_you_mean(name, known), name=name)


def _present(name: str, path: Path) -> Path:
    if not path.is_file():
        raise ModelNotFoundError(
            f"The file of model {name!r} is gone: {str(path)!r}.", hint=f"pfl model remove {quote(name)}", name=name
        )

    return path


def _installed(model: BundledModel) -> Path:
    if model.path is None:
        raise ModelNotFoundError(
            f"The model {model.name!r} is not installed.", hint=f"pfl model pull {quote(model.name)}", name=model.name
        )

    return model.path
