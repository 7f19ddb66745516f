"""The folder that the studio shows: its flows, the templates to start from, and the client with the runs."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptflow_lite.errors import PromptflowException, UserErrorException
from promptflow_lite.flow import load_yaml
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.resources import bundled
from promptflow_lite.settings import env

MAX_DEPTH = 4
MAX_FLOWS = 500
_SKIPPED = {"node_modules", "__pycache__", "site-packages", "build", "dist"}
_FLOW_FILES = ("flow.dag.yaml", "flow.dag.yml", "flow.flex.yaml", "flow.flex.yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowCard:
    """What a list of flows says about one of them; read from its file without running anything."""

    path: Path
    """The flow's folder, or its `.prompty` file."""
    name: str
    title: str
    kind: str
    """`standard`, `chat`, `evaluation`, `flex`, `prompty` or `broken`."""
    description: str = ""
    n_nodes: int = 0
    variants: dict[str, list[str]] = field(default_factory=dict)
    problem: str = ""
    modified: float = 0.0

    @property
    def is_editable(self) -> bool:
        """Whether the studio can edit it as a graph."""
        return self.kind in ("standard", "chat", "evaluation", "broken") and self.path.is_dir()


class Workspace:
    """A folder of flows together with the store of runs.

    Args:
        root: The folder.
        client: Where runs and connections are kept.
    """

    def __init__(self, root: str | os.PathLike[str], client: Client | None = None) -> None:
        self.root = Path(root).absolute()
        self.client = client or Client()

    @classmethod
    def from_environment(cls) -> Workspace:
        """The workspace that `pfl ui` was started with."""
        return cls(env("PFL_WORKSPACE") or Path.cwd())

    def flows(self) -> list[FlowCard]:
        """Every flow below the root, the one edited last first."""
        found = [describe_flow(path) for path in _find_flows(self.root)]
        return sorted(found, key=lambda card: -card.modified)

    def flow(self, path: str | os.PathLike[str]) -> Path:
        """The path of a flow that belongs to the workspace.

        Raises:
            UserErrorException: it lies outside, or does not exist.
        """
        full = Path(os.path.normpath(self.root / path))
        if not full.is_relative_to(self.root) and not full.is_relative_to(bundled("flows")):
            raise UserErrorException(f"{path} is outside of the workspace.", hint=f"The workspace is {self.root}.")

        if not full.exists():
            raise UserErrorException(f"There is no flow at {path}.", hint="It may have been moved or deleted.")

        return full

    def relative(self, path: str | os.PathLike[str]) -> str:
        """A path as the studio shows it: relative to the root where it lies below."""
        full = Path(path)
        return full.relative_to(self.root).as_posix() if full.is_relative_to(self.root) else full.as_posix()

    def create_from_template(self, template: str | os.PathLike[str], name: str) -> Path:
        """Copy a template into the workspace and return the new flow's folder.

        Raises:
            UserErrorException: the name is unusable or taken.
        """
        target = self._new_folder(name)
        shutil.copytree(
            template,
            target,
            ignore=shutil.ignore_patterns("__pycache__", ".promptflow", ".runs"),
        )
        return target

    def create_empty(self, name: str) -> Path:
        """Make a flow with one input and one output."""
        target = self._new_folder(name)
        target.mkdir(parents=True)
        (target / "flow.dag.yaml").write_text(_EMPTY_FLOW, encoding="utf-8")
        return target

    def _new_folder(self, name: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]*", name):
            raise UserErrorException(
                f"{name!r} is no usable folder name.", hint="Use letters, digits, spaces, '-', '_' and '.'."
            )

        target = self.root / name
        if target.exists():
            raise UserErrorException(f"{name!r} exists already.", hint="Choose another name.")

        return target


_EMPTY_FLOW = """\
inputs:
  text:
    type: string
    default: Hello
outputs: {}
nodes: []
"""


def gate_token() -> str:
    """The token that guards a studio which other machines can reach; empty when there is none."""
    return env("PFL_UI_TOKEN") or ""


def templates() -> list[FlowCard]:
    """The flows that come with the package."""
    return sorted((describe_flow(path) for path in _find_flows(bundled("flows"))), key=lambda card: card.title)


def evaluators() -> list[FlowCard]:
    """The evaluation flows that come with the package."""
    found = (describe_flow(path) for path in _find_flows(bundled("evaluators")))
    return sorted((card for card in found if card.kind != "broken"), key=lambda card: card.title)


def describe_flow(path: Path) -> FlowCard:
    """Read what a list shows of a flow; a file that cannot be read gives a card that says so."""
    file = path if path.is_file() else _flow_file(path)
    if path.is_file():
        return FlowCard(path=path, name=path.stem, title=path.stem, kind="prompty", modified=_modified(path))

    try:
        data = load_yaml(file).value if file else None
        if not isinstance(data, dict):
            raise UserErrorException("The file holds no mapping.")
    except PromptflowException as error:
        return FlowCard(
            path=path, name=path.name, title=path.name, kind="broken", problem=str(error), modified=_modified(file)
        )

    nodes = data.get("nodes")
    return FlowCard(
        path=path,
        name=path.name,
        title=str(data.get("display_name") or path.name),
        kind="flex" if "entry" in data else str(data.get("type") or "standard"),
        description=str(data.get("description") or ""),
        n_nodes=len(nodes) if isinstance(nodes, list) else 0,
        variants=_variants(data),
        modified=_modified(file),
    )


def _variants(data: dict[str, Any]) -> dict[str, list[str]]:
    groups = data.get("node_variants")
    if not isinstance(groups, dict):
        return {}

    return {
        str(node): [str(name) for name in group["variants"]]
        for node, group in groups.items()
        if isinstance(group, dict) and isinstance(group.get("variants"), dict)
    }


def _find_flows(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        folders[:] = [] if depth >= MAX_DEPTH else sorted(name for name in folders if _is_visible(name))
        if any(name in files for name in _FLOW_FILES):
            found.append(Path(folder))
            folders.clear()
        else:
            found.extend(Path(folder) / name for name in sorted(files) if name.endswith(".prompty"))

        if len(found) >= MAX_FLOWS:
            break

    return found[:MAX_FLOWS]


def _is_visible(folder: str) -> bool:
    return not folder.startswith(".") and folder not in _SKIPPED and not folder.startswith(("venv", "env"))


def _flow_file(folder: Path) -> Path | None:
    return next((folder / name for name in _FLOW_FILES if (folder / name).is_file()), None)


def _modified(file: Path | None) -> float:
    return file.stat().st_mtime if file else 0.0
