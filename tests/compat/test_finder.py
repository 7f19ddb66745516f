"""Importing `promptflow` names: what works, what fails when used, what stays out of the way."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from promptflow_lite.compat.finder import install, is_original_installed, uninstall
from promptflow_lite.errors import CompatImportError
from promptflow_lite.tools.decorator import tool

pytestmark = pytest.mark.usefixtures("shim")


def test_a_name_is_the_object_of_this_package() -> None:
    from promptflow.core import tool as served

    assert served is tool


def test_a_star_takes_the_names_that_work_without_warning() -> None:
    names: dict[str, object] = {}
    exec("from promptflow.core import *\nfrom promptflow import *", names)

    assert names["tool"] is tool
    assert "PFClient" not in names


def test_modules_are_reachable_as_attributes() -> None:
    import promptflow.contracts.types

    assert promptflow.contracts.types.Secret("s") == "s"


def test_a_deprecated_name_warns_and_says_where_it_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "promptflow_lite.sdk.pf_client", type("M", (), {"PFClient": int}))
    with pytest.warns(DeprecationWarning, match=r"promptflow\.client"):
        from promptflow import PFClient

    assert PFClient is int


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("promptflow.azure", "PFClient"),
        ("promptflow.azure._restclient.flow", "AnythingAtAll"),
        ("promptflow.evals.evaluators", "ViolenceEvaluator"),
        ("promptflow.rag.resources", "LocalSource"),
        ("promptflow._sdk.schemas._flow", "FlowSchema"),
        ("promptflow._cli._pf._service", "_start_background_service_on_unix"),
    ],
)
def test_a_cloud_only_name_imports_and_fails_with_advice_when_used(module: str, name: str) -> None:
    stand_in = getattr(importlib.import_module(module), name)
    with pytest.raises(CompatImportError) as caught:
        stand_in(project_scope={})

    assert name in caught.value.message
    assert caught.value.hint


def test_reading_an_attribute_of_a_cloud_only_name_fails_with_the_same_error() -> None:
    from promptflow.azure import PFClient

    with pytest.raises(CompatImportError):
        _ = PFClient.from_config
    assert not isinstance("x", PFClient)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ImportError, match="promptflow"):
        from promptflow.core import toool  # noqa: F401

    with pytest.raises(AttributeError, match="Did you mean 'tool'"):
        _ = importlib.import_module("promptflow.core").toool


def test_an_unknown_module_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("promptflow.no_such_module")


def test_installing_twice_adds_one_finder() -> None:
    before = len(sys.meta_path)
    assert install()
    assert len(sys.meta_path) == before


def test_the_finder_stands_behind_all_others() -> None:
    assert type(sys.meta_path[-1]).__name__ == "ShimFinder"


def test_modules_that_other_distributions_add_live_beside_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = tmp_path / "promptflow" / "tools"
    extra.mkdir(parents=True)
    (extra / "house_tool.py").write_text(
        "from promptflow.core import tool\n@tool\ndef double(x: int):\n    return 2 * x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    uninstall()
    install()

    from promptflow.core import tool as served
    from promptflow.tools.house_tool import double

    assert served is tool
    assert double(4) == 8


def test_a_really_installed_original_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = tmp_path / "promptflow" / "core"
    core.mkdir(parents=True)
    (tmp_path / "promptflow" / "__init__.py").write_text("")
    (core / "__init__.py").write_text("tool = 'the original'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    uninstall()

    assert is_original_installed()
    assert not install()
    assert importlib.import_module("promptflow.core").tool == "the original"


def test_a_really_installed_vector_package_serves_its_own_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall()
    contracts = tmp_path / "promptflow_vectordb" / "core" / "contracts"
    contracts.mkdir(parents=True)
    for folder in (contracts, contracts.parent, contracts.parent.parent):
        (folder / "__init__.py").write_text("WHOSE = 'theirs'\n")

    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    try:
        install()
        assert importlib.import_module("promptflow_vectordb.core.contracts").WHOSE == "theirs"
        assert importlib.import_module("promptflow_vectordb.connections").QdrantConnection
    finally:
        for name in [name for name in sys.modules if name.startswith("promptflow_vectordb")]:
            del sys.modules[name]


def test_nothing_heavy_is_imported_by_the_shim() -> None:
    import subprocess

    code = (
        "import sys, promptflow_lite.compat; import promptflow.core; print(sorted(m for m in sys.modules if m in %r))"
    )
    heavy = ["openai", "pandas", "numpy", "sqlalchemy", "fastapi"]
    result = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
