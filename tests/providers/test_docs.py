"""The Python blocks of the page about models run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_PAGE = Path(__file__).parents[2] / "docs" / "models-and-connections.md"
_BLOCKS = re.findall(r"```python\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("index", range(len(_BLOCKS)))
def test_block_runs(index: int) -> None:
    exec(compile(_BLOCKS[index], str(_PAGE), "exec"), {})


def test_page_has_blocks() -> None:
    assert len(_BLOCKS) >= 2
