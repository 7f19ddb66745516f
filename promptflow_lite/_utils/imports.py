"""Optional dependencies: import one, or say which extra brings it."""

from __future__ import annotations

import importlib
from typing import Any

from promptflow_lite.errors import MissingExtraError


def require(module: str, *, extra: str, feature: str) -> Any:
    """Import `module`, or raise `MissingExtraError` that names the extra to install.

    Args:
        module: Dotted module name.
        extra: The extra of this distribution that installs it.
        feature: What the user tried to do, as the start of a sentence.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        root = module.split(".")[0]
        if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] != root:
            raise

        raise MissingExtraError(feature, extra) from error


def hint_for_import_error(error: BaseException, otherwise: str) -> str:
    """What to do about an import that failed in somebody else's code.

    Args:
        error: What the import raised.
        otherwise: The hint for errors that are not a missing module.
    """
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if not missing:
        return otherwise

    return (
        f"The module {missing!r} is not installed in this Python environment, and is not in the flow's folder. "
        "Install the package that brings it; the flow's requirements.txt may name it."
    )
