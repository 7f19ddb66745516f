"""What the studio needs beyond the client: flows as editable documents, test runs in a process of their own, views."""

from promptflow_lite.connections import connection_from_data
from promptflow_lite.errors import EvaluatorError, PromptflowException
from promptflow_lite.records import LineResult, RunRecord, Status
from promptflow_lite.sdk.studio.batch import (
    BatchJob,
    BatchPlan,
    EvaluationPlan,
    auto_evaluation,
    auto_mapping,
    batch_jobs,
    count_rows,
    flow_graph,
    is_alive,
    model_calls,
    preview,
    start_batch,
    start_resume,
    unused_name,
)
from promptflow_lite.sdk.studio.document import FlowDocument
from promptflow_lite.sdk.studio.edits import parse_value, value_text
from promptflow_lite.sdk.studio.forms import ChatShape, ConnectionKind, chat_shape, connection_kinds, settings_text
from promptflow_lite.sdk.studio.labels import LabelQueue, label_queue
from promptflow_lite.sdk.studio.models import ModelCard, memory_bytes, model_cards, trial_flow
from promptflow_lite.sdk.studio.reports import chart_rows, cost_rows, headline, report_html, score_rows, sentences
from promptflow_lite.sdk.studio.served import Traffic, endpoints, served_names, trace_of_request, traffic
from promptflow_lite.sdk.studio.tester import FlowTester, TestJob
from promptflow_lite.sdk.studio.traces import trace_of_line, trace_rows
from promptflow_lite.sdk.studio.view import (
    MISSING,
    WAITING,
    canvas_data,
    error_card,
    known_value,
    notebook_data,
    problems_by_node,
    shown_value,
)
from promptflow_lite.sdk.studio.workspace import FlowCard, Workspace, evaluators, gate_token, templates

__all__ = [
    "MISSING",
    "WAITING",
    "BatchJob",
    "BatchPlan",
    "ChatShape",
    "ConnectionKind",
    "EvaluationPlan",
    "EvaluatorError",
    "FlowCard",
    "FlowDocument",
    "FlowTester",
    "LabelQueue",
    "LineResult",
    "ModelCard",
    "PromptflowException",
    "RunRecord",
    "Status",
    "TestJob",
    "Traffic",
    "Workspace",
    "auto_evaluation",
    "auto_mapping",
    "batch_jobs",
    "canvas_data",
    "chart_rows",
    "chat_shape",
    "connection_from_data",
    "connection_kinds",
    "cost_rows",
    "count_rows",
    "endpoints",
    "error_card",
    "evaluators",
    "flow_graph",
    "gate_token",
    "headline",
    "is_alive",
    "known_value",
    "label_queue",
    "memory_bytes",
    "model_calls",
    "model_cards",
    "notebook_data",
    "parse_value",
    "preview",
    "problems_by_node",
    "report_html",
    "score_rows",
    "sentences",
    "served_names",
    "settings_text",
    "shown_value",
    "start_batch",
    "start_resume",
    "templates",
    "trace_of_line",
    "trace_of_request",
    "trace_rows",
    "traffic",
    "trial_flow",
    "unused_name",
    "value_text",
]
