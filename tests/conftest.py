"""Guards around every test: no network but loopback, a state folder and an environment of its own."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# A loaded machine must not fail a property; more examples are a matter of `--hypothesis-profile=default`.
hypothesis.settings.register_profile("quick", max_examples=50, deadline=None)
hypothesis.settings.load_profile("quick")

_FOREIGN_PREFIXES = (
    "PF_",
    "PFL_",
    "PROMPTFLOW_",
    "OPENAI_",
    "AZURE_",
    "AZUREML_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
)


class NetworkBlockedError(Exception):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True, scope="session")
def _only_loopback() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        _check_host(host)
        return look_up(host, *args, **kwargs)

    patch.setattr(socket, "getaddrinfo", guarded_look_up)
    yield
    patch.undo()


def _guarded(connect: Any) -> Any:
    def guarded_connect(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _check_host(address[0])
        return connect(self, address)

    return guarded_connect


def _check_host(host: Any) -> None:
    text = host.decode() if isinstance(host, bytes) else host
    if text in (None, "", "localhost", "0.0.0.0"):
        return

    try:
        is_local = ipaddress.ip_address(text.split("%")[0]).is_loopback
    except ValueError:
        is_local = text.endswith(".localhost") or text == socket.gethostname()
    if not is_local:
        raise NetworkBlockedError(f"Tests may only use loopback, not {text!r}")


@pytest.fixture(scope="session")
def _homes() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="pfl-tests-"))
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(autouse=True)
def home(_homes: Path) -> Iterator[Path]:
    """The state folder of this test; the environment is put back afterwards."""
    before = dict(os.environ)
    for name in before:
        if name.upper().startswith(_FOREIGN_PREFIXES):
            del os.environ[name]
    folder = Path(tempfile.mkdtemp(dir=_homes))
    os.environ["PFL_HOME"] = str(folder)
    yield folder
    os.environ.clear()
    os.environ.update(before)
