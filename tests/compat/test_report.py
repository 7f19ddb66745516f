"""The compatibility page says what the tests show."""

from __future__ import annotations

from pathlib import Path

import pytest

import promptflow_lite
from tests.compat.report import DOCUMENT, render
from tests.compat.variables import NO_EFFECT, VARIABLES


def test_the_page_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == render(), "run: python -m tests.compat.report"


@pytest.fixture(scope="module")
def sources() -> str:
    folder = Path(promptflow_lite.__file__).parent
    return "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.py"))


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_variables_that_are_read_are_those_said_to_have_an_effect(variable: str, sources: str) -> None:
    is_read = any(f'"{name}"' in sources for name in (variable, variable.removeprefix("PROMPTFLOW_")))

    assert is_read != VARIABLES[variable].startswith(NO_EFFECT)
