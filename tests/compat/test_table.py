"""The table of names: every name that flows import is in it, and every target exists."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from promptflow_lite.compat.finder import resolve
from promptflow_lite.compat.table import TABLE
from promptflow_lite.errors import CompatImportError

pytestmark = [pytest.mark.usefixtures("shim"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]

IMPORTS = Path(__file__).with_name("import_paths.txt").read_text().splitlines()
TARGETS = sorted(
    {entry.target: (m, n) for m, names in TABLE.items() for n, entry in names.items() if entry.target}.values()
)
ABSENT = [(module, name) for module, names in TABLE.items() for name, entry in names.items() if not entry.target]


@pytest.mark.parametrize("statement", IMPORTS)
def test_every_import_that_flows_make_works(statement: str) -> None:
    exec(statement, {})


@pytest.mark.parametrize(("module", "name"), TARGETS)
def test_every_target_exists(module: str, name: str) -> None:
    assert resolve(module, name, TABLE[module][name]) is not None


@pytest.mark.parametrize(("module", "name"), ABSENT)
def test_every_absent_name_says_what_to_do(module: str, name: str) -> None:
    stand_in = getattr(importlib.import_module(module), name)
    with pytest.raises(CompatImportError) as caught:
        stand_in()

    assert caught.value.hint


def test_parents_of_all_modules_are_in_the_table() -> None:
    parents = {module.rpartition(".")[0] for module in TABLE if "." in module}
    assert parents <= set(TABLE)
