"""Copies of a flow as it executes: includes merged, variants put in place, ignored files left out."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from promptflow_lite.flow import DagFlow, FlexFlow, Flow, dump_yaml_text, load_yaml, parse_yaml
from promptflow_lite.flow.overrides import inline_variants
from promptflow_lite.settings import home

logger = logging.getLogger("promptflow")

ALWAYS_IGNORED = (
    ".git",
    ".runs",
    "__pycache__",
    ".venv",
    "node_modules",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
)
EXAMPLE_SUFFIXES = (".example", ".sample", ".template")
"""Of `.env` files that hold no keys and may be copied; runs and images must not carry the author's."""
TEST_FOLDER = ".promptflow"
IGNORE_FILES = (".amlignore", ".gitignore")


def copy_flow(flow: Flow, target: Path, *, max_files: int | None = None, max_file_bytes: int | None = None) -> Path:
    """Copy a flow's folder to `target` in the form in which it executes.

    Args:
        flow: The loaded flow, its includes materialised.
        target: A folder that is created; files in it are replaced.
        max_files: Stop after so many files, with a warning.
        max_file_bytes: Leave out larger files, with a warning.

    Returns:
        The flow file in the copy.
    """
    target.mkdir(parents=True, exist_ok=True)
    for count, relative in enumerate(flow_files(flow.root, skip=(target, home()))):
        if max_files is not None and count == max_files:
            logger.warning("The copy of %s holds only its first %d files.", flow.root, max_files)
            break

        source = flow.root / relative
        if max_file_bytes is not None and source.stat().st_size > max_file_bytes:
            logger.warning("%s is larger than %d MiB and left out of the copy.", source, max_file_bytes >> 20)
            continue

        destination = target / relative
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, destination)

    return _write_flow_file(flow, target)


def flow_files(root: Path, *, skip: Collection[Path] = ()) -> Iterator[Path]:
    """Files of a folder relative to it, without those that its ignore file names and without caches.

    Args:
        root: The folder.
        skip: Folders inside it to leave out as well.
    """
    rules = IgnoreRules.of_folder(root)
    for folder, names, files in os.walk(root):
        here = Path(folder)
        names[:] = sorted(
            name
            for name in names
            if name not in ALWAYS_IGNORED
            and here / name not in skip
            and not rules.ignores((here / name).relative_to(root), is_folder=True)
        )
        for name in sorted(files):
            relative = (here / name).relative_to(root)
            if _is_private(relative):
                continue

            if not rules.ignores(relative, is_folder=False) and (here / name).is_file():
                yield relative


def _is_private(relative: Path) -> bool:
    """Whether a file holds keys, or what was said in tests of the flow."""
    is_environment = relative.name == ".env" or (
        relative.name.startswith(".env.") and relative.suffix not in EXAMPLE_SUFFIXES
    )
    return is_environment or (relative.parts[0] == TEST_FOLDER and relative.name != "flow.tools.json")


def _write_flow_file(flow: Flow, target: Path) -> Path:
    if isinstance(flow, DagFlow):
        file = target / flow.path.name
        data = inline_variants(load_yaml(flow.path), flow.variant)
        data.pop("additional_includes", None)
        file.write_text(dump_yaml_text(data), encoding="utf-8")
        return file

    if isinstance(flow, FlexFlow):
        file = target / (flow.path.name if flow.path else "flow.flex.yaml")
        data = dict(parse_yaml(flow.path.read_text(encoding="utf-8")).value) if flow.path else {"entry": flow.entry}
        data.pop("additional_includes", None)
        data.pop("code", None)
        file.write_text(dump_yaml_text(data), encoding="utf-8")
        return file

    return target / flow.path.name


class IgnoreRules:
    """Patterns of a `.gitignore`; the last one that matches decides."""

    def __init__(self, lines: list[str]) -> None:
        self._rules = [rule for line in lines if (rule := _parse_rule(line)) is not None]

    @classmethod
    def of_folder(cls, folder: Path) -> IgnoreRules:
        """The rules of a folder's `.amlignore`, else of its `.gitignore`."""
        for name in IGNORE_FILES:
            if (folder / name).is_file():
                return cls((folder / name).read_text(encoding="utf-8", errors="replace").splitlines())

        return cls([])

    def ignores(self, relative: Path, *, is_folder: bool) -> bool:
        """Whether a path relative to the folder is left out."""
        text = relative.as_posix()
        ignored = False
        for pattern, is_negated, folders_only in self._rules:
            if (is_folder or not folders_only) and pattern.match(text):
                ignored = not is_negated

        return ignored


def _parse_rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    text = line.strip()
    if not text or text.startswith("#"):
        return None

    is_negated = text.startswith("!")
    text = text.removeprefix("!")
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    is_anchored = "/" in text
    body = "".join(_TRANSLATIONS.get(part) or _translate(part) for part in _GLOB_PARTS.findall(text.lstrip("/")))
    prefix = "" if is_anchored else "(?:.*/)?"
    return re.compile(f"{prefix}{body}\\Z"), is_negated, folders_only


_GLOB_PARTS = re.compile(r"\*\*/|/\*\*|\*\*|\*|\?|\[[^\]]*\]|[^*?\[/]+|.")
_TRANSLATIONS = {"**/": "(?:.*/)?", "/**": "/.*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def _translate(part: str) -> str:
    if part.startswith("[") and part.endswith("]"):
        return part.replace("[!", "[^", 1)

    return re.escape(part)
