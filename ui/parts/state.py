"""What outlives a rerun: the workspace, the test process, and each flow that is open."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from promptflow_lite.sdk.studio import (
    WAITING,
    CodeFlow,
    FlowDocument,
    FlowTester,
    PromptflowException,
    TestJob,
    Workspace,
)

DATA_SUFFIXES = (".jsonl", ".csv", ".tsv", ".json", ".parquet")


@st.cache_resource(show_spinner=False)
def workspace() -> Workspace:
    """The folder and the store that this studio shows."""
    return Workspace.from_environment()


@st.cache_resource(show_spinner=False, on_release=lambda tester: tester.close())
def tester() -> FlowTester:
    """The process that runs flows for tests."""
    return FlowTester()


@dataclass(slots=True)
class AuthorState:
    """A flow on the author page."""

    document: FlowDocument
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Node name -> last outcome."""
    inputs: dict[str, Any] = field(default_factory=dict)
    """Test values of the flow's inputs."""
    selected: str | None = None
    job: TestJob | None = None
    outcome: dict[str, Any] | None = None
    """The last outcome of a run of the whole flow (or of a part of it)."""
    goto: str | None = None
    """Page to open after the callbacks."""
    wants_run: bool = False
    """Whether a run of the whole flow was asked for and has not begun: a click must outlive an interrupted rerun."""

    @property
    def is_running(self) -> bool:
        return self.job is not None

    def ask_for_run(self) -> None:
        self.wants_run = True

    @property
    def live_results(self) -> dict[str, dict[str, Any]]:
        """The last outcomes; of nodes in the current test, how far they are."""
        job = self.job
        if job is None:
            return self.results

        nodes = job.nodes if job.nodes is not None else self.document.graph.nodes
        known = {**self.results, **{name: {"status": WAITING} for name in nodes}, **job.progress}
        for output, text in job.text.items():
            node = self.document.graph.source_of(output)
            if known.get(node, {}).get("status") == "Running":
                known[node] = {**known[node], "output": text}
        return known

    def take_outcome(self) -> bool:
        """Take over what a finished test gave; False while it runs."""
        job = self.job
        if job is None or not job.is_done:
            return False

        result = job.result or {}
        for node in result.get("nodes") or []:
            self.results[node["node"]] = node
        self.outcome = {**result, "finished": time.time()}
        self.job = None
        return True


def author_state(folder: Path) -> AuthorState:
    """The state of a flow; opened on first use. Raises `PromptflowException` when it cannot be read."""
    states: dict[str, AuthorState] = st.session_state.setdefault("author_states", {})
    key = str(folder)
    if key not in states:
        document = FlowDocument(folder)
        states.setdefault(key, AuthorState(document, inputs=first_inputs(document)))
    return states[key]


@dataclass(slots=True)
class CodeState:
    """A flex flow or a prompty on the author page."""

    flow: CodeFlow
    key: str
    """Tells its widgets from those of other flows."""
    inputs: dict[str, Any] = field(default_factory=dict)
    job: TestJob | None = None
    outcome: dict[str, Any] | None = None


def code_state(path: Path) -> CodeState:
    """The state of a flow without nodes; opened on first use."""
    states: dict[str, CodeState] = st.session_state.setdefault("code_states", {})
    key = str(path)
    if key not in states:
        flow = CodeFlow(path)
        states.setdefault(key, CodeState(flow, f"code-{len(states)}", flow.first_inputs()))
    return states[key]


def first_inputs(document: FlowDocument) -> dict[str, Any]:
    """Test values: the declared defaults, and the first data row for inputs without one."""
    row = next(iter(data_rows(document.folder, limit=1)), {})
    values = {}
    for name, spec in document.graph.inputs.items():
        if spec.get("default") is not None:
            values[name] = spec["default"]
        elif name in row:
            values[name] = row[name]
    return values


def data_files(folder: Path) -> list[Path]:
    """Data files beside a flow."""
    return sorted(path for path in folder.iterdir() if path.suffix in DATA_SUFFIXES) if folder.is_dir() else []


def data_rows(folder: Path, limit: int) -> list[dict[str, Any]]:
    """The first rows of the flow's `data.jsonl`, as far as they can be read."""
    file = folder / "data.jsonl"
    if not file.is_file():
        return []

    with file.open(encoding="utf-8") as lines:
        return list(_parsed(lines, limit))


def _parsed(lines: Any, limit: int) -> Iterator[dict[str, Any]]:
    for _, line in zip(range(limit), lines, strict=False):
        try:
            row = json.loads(line)
        except ValueError:
            continue

        if isinstance(row, dict):
            yield row


@contextmanager
def shown_errors() -> Iterator[None]:
    """Show an error of ours as a message with its hint instead of a traceback."""
    try:
        yield
    except PromptflowException as error:
        show_error(error)


def show_error(error: PromptflowException | Mapping[str, Any]) -> None:
    """An error as people read it."""
    if isinstance(error, PromptflowException):
        message, hint, where = str(error), error.hint or "", str(error.where or "")
    else:
        message, hint = str(error.get("message") or "Something failed."), str(error.get("hint") or "")
        where = str(error.get("where") or "")

    text = f"{message}\n\n{hint}".strip()
    st.error(f"{text}\n\n`{where}`" if where else text, icon=":material/error:")
