"""One flow open in the studio: its texts, what was edited, what can be undone, and what changed on disk meanwhile."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptflow_lite._utils.files import replace_file
from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.errors import PromptflowException, UserErrorException
from promptflow_lite.flow import Problem, find_flow_file, validate_flow
from promptflow_lite.sdk.studio import edits
from promptflow_lite.sdk.studio.edits import Project
from promptflow_lite.sdk.studio.files import MAX_BYTES, FlowFiles, OpenFile
from promptflow_lite.sdk.studio.graph import Graph
from promptflow_lite.sdk.studio.sources import LANGUAGES

MAX_HISTORY = 200
_LAYOUT_FILE = Path(".promptflow") / "studio.layout.json"


@dataclass(frozen=True, slots=True)
class _Step:
    before: Project
    after: Project
    shown: dict[str, str]


@dataclass(slots=True)
class Layout:
    """Where the user has put the nodes; kept beside the flow, never in it."""

    positions: dict[str, tuple[float, float]] = field(default_factory=dict)
    direction: str = "TB"


class FlowDocument:
    """A DAG flow being edited: every edit is written at once, and a file that changed on disk is never lost silently.

    Thread: safe; two runs of a page may overlap, one that ends and the next.

    Args:
        folder: The flow's folder.

    Raises:
        PromptflowException: the folder holds no readable DAG flow.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = DocumentFiles(self)
        self.file = find_flow_file(folder)
        self.id = uuid.uuid4().hex
        self.shown: dict[str, str] = {}
        """Node name -> variant on display."""
        self.message = ""
        """Why the last edit was refused; empty when it was not."""
        self.conflict: list[str] = []
        """Files that changed on disk since they were read; edits wait until the user decides."""
        self._undo: list[_Step] = []
        self._redo: list[_Step] = []
        self._graph: Graph | None = None
        self._last_graph = Graph(inputs={}, nodes={}, outputs={})
        self._problems: list[Problem] | None = None
        self._on_disk: dict[str, str] = {}
        self._lock = threading.RLock()
        self.layout = _read_layout(folder)
        self.project = Project("")
        self.reload()

    # --- reading ---

    def text(self, path: str) -> str | None:
        """A text that edits of this flow change; None for other files of its folder."""
        return self._texts(self.project).get(path)

    def reload(self) -> None:
        """Read everything from disk again, dropping edits that were not written."""
        with self._lock:
            self.project = Project(_text_or_none(self.file) or "", _read_sources(self.folder))
            self._on_disk = self._texts(self.project)
            self._undo, self._redo = [], []  # their texts do not know what others changed, and would take it back
            self.conflict = []
            self._changed()

    @property
    def graph(self) -> Graph:
        """The flow as drawn; the last readable one while the yaml cannot be parsed."""
        with self._lock:
            if self._graph is None:
                try:
                    self._graph = self.project.graph(self.shown)
                except PromptflowException:
                    self._graph = self._last_graph

            return self._graph

    def graph_of(self, shown: Mapping[str, str]) -> Graph:
        """The graph with other variants on display."""
        return self.project.graph({**self.shown, **shown})

    @property
    def problems(self) -> list[Problem]:
        """What is wrong with the flow, found without running any of its code."""
        with self._lock:
            if self._problems is None:
                self._problems = list(validate_flow(self.folder))

            return self._problems

    @property
    def can_undo(self) -> bool:
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        return bool(self._redo)

    # --- editing ---

    def apply(self, op: Mapping[str, Any]) -> bool:
        """Apply and save one operation; False, with `message` set, when it is refused."""
        with self._lock:
            self.message = ""
            try:
                self._dispatch(str(op.get("op")), op)
            except PromptflowException as error:
                self.message = f"{error} {error.hint or ''}".strip()
                return False

            return True

    def changed_on_disk(self) -> list[str]:
        """Files of the flow that somebody else wrote, added or removed since they were read."""
        now = {self.file.name: _text_or_none(self.file), **_read_sources(self.folder)}
        return sorted(name for name in {*now, *self._on_disk} if now.get(name) != self._on_disk.get(name))

    def overwrite(self) -> None:
        """Write the texts of the studio over those on disk."""
        with self._lock:
            self.conflict = []
            self._on_disk = {}
            self._write(self.project)

    # --- inside ---

    def _dispatch(self, name: str, op: Mapping[str, Any]) -> None:
        if name in ("undo", "redo"):
            self._travel(back=name == "undo")
        elif name in ("move", "layout"):
            self._arrange(op)
        elif name == "show_variant":
            self._show(str(op["node"]), str(op["variant"]))
        else:
            self._edit(op)

    def _edit(self, op: Mapping[str, Any]) -> None:
        before = self.project
        after = edits.apply(before, op, self.shown)
        if after == before:
            return

        step, graph = _Step(before, after, dict(self.shown)), self.graph
        try:
            self._save(after)
        except UserErrorException:
            if self.conflict and op.get("op") == "set_text":
                self.project = after  # what was typed stays in the editor until the user decides
                self._changed()
            raise

        self._undo = [*self._undo[-MAX_HISTORY:], step]
        self._redo = []
        self._follow(op, graph)

    def _follow(self, op: Mapping[str, Any], before: Graph) -> None:
        """Keep what is shown in step with an edit."""
        name, node = op.get("op"), str(op.get("node"))
        if name == "rename":
            new = str(op["name"])
            for table in (self.layout.positions, self.shown):
                if node in table:
                    table[new] = table.pop(node)  # type: ignore[assignment]
        elif name == "add_variant":
            self._show(node, self.graph.nodes[node].variants[-1])
        elif name == "add" and op.get("position"):
            added = next(name for name in self.graph.nodes if name not in before.nodes)
            self._arrange({"op": "move", "positions": {added: op["position"]}})

    def _save(self, project: Project) -> None:
        changed = self.changed_on_disk()
        if changed:
            self.conflict = changed
            raise UserErrorException(
                f"{', '.join(changed)} changed on disk.", hint="Reload to see the change, or overwrite it."
            )

        self._write(project)

    def _write(self, project: Project) -> None:
        new = self._texts(project)
        changed = {path: text for path, text in new.items() if self._on_disk.get(path) != text}
        targets = {path: self.files.path(path) for path in {*changed, *(set(self._on_disk) - set(new))}}
        for path, text in changed.items():
            target = targets[path]
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(target, text)
        for path in set(targets) - set(changed):
            targets[path].unlink(missing_ok=True)

        self.project = project
        self._on_disk = new
        self._changed()

    def _travel(self, *, back: bool) -> None:
        source, target = (self._undo, self._redo) if back else (self._redo, self._undo)
        if source:
            step = source[-1]
            self._save(step.before if back else step.after)
            self.shown = dict(step.shown)
            source.pop()
            target.append(step)

    def _show(self, node: str, variant: str) -> None:
        self.shown[node] = variant
        self._graph = None

    def _arrange(self, op: Mapping[str, Any]) -> None:
        if op["op"] == "layout":
            self.layout = Layout(direction=str(op.get("direction") or self.layout.direction))
        else:
            self.layout.positions |= {name: (float(x), float(y)) for name, (x, y) in op["positions"].items()}
        self._write_layout()

    def _write_layout(self) -> None:
        file = self.folder / _LAYOUT_FILE
        file.parent.mkdir(exist_ok=True)
        data = {"direction": self.layout.direction, "positions": self.layout.positions}
        replace_file(file, dumps(data, indent=True))

    def _changed(self) -> None:
        self._last_graph = self._graph or self._last_graph
        self._graph = None
        self._problems = None

    def _texts(self, project: Project) -> dict[str, str]:
        return {self.file.name: project.yaml, **project.sources}


class DocumentFiles(FlowFiles):
    """The files of an open flow; its sources change through the document, so that undo and the graph follow."""

    def __init__(self, document: FlowDocument) -> None:
        super().__init__(document.folder)
        self._document = document

    def open(self, name: str) -> OpenFile:
        text = self._document.text(name)
        return OpenFile(text, digest="") if text is not None else super().open(name)

    def save(self, name: str, text: str) -> bool:
        if self._document.text(name) is None:
            return super().save(name, text)

        return self._document.apply({"op": "set_text", "path": name, "text": text})

    def create(self, name: str, text: str = "") -> None:
        if self._free(name).suffix in LANGUAGES:
            self._apply({"op": "set_text", "path": name, "text": text})
        else:
            super().create(name, text)

    def rename(self, name: str, new_name: str) -> None:
        target = self._free(new_name)
        if self._document.text(name) is None:
            super().rename(name, new_name)
        elif name == self._document.file.name or target.suffix not in LANGUAGES:
            raise UserErrorException(f"{name} cannot be called {new_name!r}.", hint="Keep the ending of its name.")
        else:
            self._apply({"op": "rename_file", "path": name, "name": new_name})

    def delete(self, name: str) -> None:
        if self._document.text(name) is None:
            super().delete(name)
        elif name == self._document.file.name:
            raise UserErrorException(f"{name} is the flow itself.", hint="Delete the folder to delete the flow.")
        else:
            self._apply({"op": "delete_file", "path": name})

    def _apply(self, op: Mapping[str, Any]) -> None:
        if not self._document.apply(op):
            raise UserErrorException(self._document.message)


def _read_sources(folder: Path) -> dict[str, str]:
    """The text files that nodes may use, by path relative to the flow."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        is_hidden = any(part.startswith((".", "__pycache__")) for part in relative.parts)
        if is_hidden or path.suffix not in LANGUAGES or path.name in ("flow.dag.yaml", "flow.dag.yml"):
            continue

        if path.is_file() and path.stat().st_size <= MAX_BYTES and (text := _text_or_none(path)) is not None:
            found[relative.as_posix()] = text

    return found


def _text_or_none(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None


def _read_layout(folder: Path) -> Layout:
    try:
        data = loads((folder / _LAYOUT_FILE).read_bytes())
        positions = {str(name): (float(x), float(y)) for name, (x, y) in data["positions"].items()}
        return Layout(positions, "LR" if data["direction"] == "LR" else "TB")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Layout()
