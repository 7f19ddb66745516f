"""The exception tree as a whole."""

from __future__ import annotations

import pickle
import re
from collections import defaultdict
from typing import Any

import pytest
from support.pages import error_classes

from promptflow_lite.errors import Location, MissingExtraError, PromptflowException, ResolveToolError, error_to_dict

_CLASSES = error_classes()
_ARGUMENTS: dict[type, tuple[Any, ...]] = {
    MissingExtraError: ("A feature", "extra"),
    ResolveToolError: ("node", KeyError("x")),
}


def made(cls: type[PromptflowException]) -> PromptflowException:
    arguments = _ARGUMENTS.get(cls)
    if arguments is not None:
        return cls(*arguments)

    return cls("Broken.", hint="Mend it.", where=Location("a.yaml", 3, 4), number=7)


@pytest.mark.parametrize("cls", _CLASSES)
def test_error_survives_pickling(cls: type[PromptflowException]) -> None:
    error = made(cls)

    twin = pickle.loads(pickle.dumps(error))

    assert type(twin) is cls
    assert str(twin) == str(error)
    assert (twin.code, twin.hint, twin.where, twin.target) == (error.code, error.hint, error.where, error.target)
    assert error_to_dict(twin, include_debug_info=False) == error_to_dict(error, include_debug_info=False)


@pytest.mark.parametrize("cls", _CLASSES)
def test_error_has_a_dotted_code_and_says_what_it_means(cls: type[PromptflowException]) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z0-9_]+)?", cls.code)
    assert (cls.__dict__.get("__doc__") or "").strip()


def test_code_is_shared_only_within_a_line_of_the_tree() -> None:
    by_code: dict[str, list[type]] = defaultdict(list)
    for cls in _CLASSES:
        by_code[cls.code].append(cls)

    for code, classes in by_code.items():
        eldest = min(classes, key=lambda cls: len(cls.__mro__))
        assert all(issubclass(cls, eldest) for cls in classes), code
