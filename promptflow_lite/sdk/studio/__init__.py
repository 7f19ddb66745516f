"""What the studio needs beyond the client: flows as editable documents, test runs in a process of their own, views."""

from promptflow_lite.errors import PromptflowException
from promptflow_lite.records import LineResult, RunRecord, Status
from promptflow_lite.sdk.studio.document import FlowDocument
from promptflow_lite.sdk.studio.edits import parse_value, value_text
from promptflow_lite.sdk.studio.tester import FlowTester, TestJob
from promptflow_lite.sdk.studio.traces import trace_of_line, trace_rows
from promptflow_lite.sdk.studio.view import (
    MISSING,
    canvas_data,
    error_card,
    known_value,
    notebook_data,
    problems_by_node,
    shown_value,
)
from promptflow_lite.sdk.studio.workspace import FlowCard, Workspace, evaluators, templates

__all__ = [
    "MISSING",
    "FlowCard",
    "FlowDocument",
    "FlowTester",
    "LineResult",
    "PromptflowException",
    "RunRecord",
    "Status",
    "TestJob",
    "Workspace",
    "canvas_data",
    "error_card",
    "evaluators",
    "known_value",
    "notebook_data",
    "parse_value",
    "problems_by_node",
    "shown_value",
    "templates",
    "trace_of_line",
    "trace_rows",
    "value_text",
]
