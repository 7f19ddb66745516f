"""The shim is a change of the process: each test that wants it installs it and cleans up."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from promptflow_lite.compat.finder import install, uninstall


@pytest.fixture
def shim() -> Iterator[None]:
    saved = {name: module for name, module in sys.modules.items() if name.partition(".")[0].startswith("promptflow")}
    uninstall()
    assert install()
    yield
    uninstall()
    for name in [name for name in sys.modules if name == "promptflow" or name.startswith("promptflow.")]:
        del sys.modules[name]
    sys.modules.update(saved)
    install()
