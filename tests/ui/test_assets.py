"""How the studio is put together: what it imports, and the bundle that ships with the package."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path

import pytest

import promptflow_lite
from promptflow_lite.sdk.resources import bundled

ROOT = Path(promptflow_lite.__file__).parents[1]
ASSETS = Path(promptflow_lite.__file__).parent / "ui_assets"
COMPONENTS = ["code_cell", "flow_canvas", "trace_waterfall"]
SOURCES = sorted(path for path in bundled("ui").rglob("*.py") if path.name != "screenshots.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_studio_imports_the_sdk_and_nothing_below_it(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]

    ours = [name for name in imported if name.startswith("promptflow")]

    assert [name for name in ours if not name.startswith("promptflow_lite.sdk")] == []


def test_streamlit_finds_the_components() -> None:
    from streamlit.components.v2.manifest_scanner import scan_component_manifests

    manifests = [manifest for manifest, _ in scan_component_manifests() if manifest.name == "promptflow-lite"]

    assert sorted(component.name for component in manifests[0].components) == COMPONENTS


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_bundle_has_one_script_and_one_style_named_by_their_content(name: str) -> None:
    for suffix in ("js", "css"):
        (file,) = (ASSETS / name).glob(f"*.{suffix}")
        assert hashlib.sha256(file.read_bytes()).hexdigest()[:10] in file.name


@pytest.mark.parametrize("name", ["code_cell", "flow_canvas"])
def test_licences_of_what_is_bundled_are_beside_it(name: str) -> None:
    text = (ASSETS / name / "THIRD_PARTY_LICENSES.txt").read_text("utf-8")

    assert "react-dom" in text
    assert text.count("Permission is hereby granted") >= 5


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((ROOT / "ui" / "frontend" / "package-lock.json").read_text("utf-8"))

    assert all("resolved" not in package for package in lock["packages"].values())
    assert all("integrity" in package for path, package in lock["packages"].items() if path)
