"""What the studio needs beyond the client: flows as editable documents, test runs in a process of their own, views."""

from promptflow_lite.catalog import ModelCard
from promptflow_lite.connections import connection_from_data
from promptflow_lite.errors import EvaluatorError, PromptflowException
from promptflow_lite.evals.grid import GridRequest, parse_sweeps
from promptflow_lite.records import LineResult, RunRecord, Status
from promptflow_lite.sdk.studio.batch import (
    BatchEstimate,
    BatchPlan,
    EvaluationPlan,
    auto_evaluation,
    auto_mapping,
    batch_jobs,
    count_rows,
    estimate,
    flow_graph,
    mapped_row,
    preview,
    resume_batch,
    start_batch,
    start_resume,
    unused_name,
)
from promptflow_lite.sdk.studio.code_flow import CodeFlow, is_code_flow
from promptflow_lite.sdk.studio.comparisons import (
    ComparisonJob,
    Comparisons,
    comparable_names,
    run_title,
    variants_of,
)
from promptflow_lite.sdk.studio.document import FlowDocument
from promptflow_lite.sdk.studio.edits import parse_value, value_text
from promptflow_lite.sdk.studio.files import FlowFiles
from promptflow_lite.sdk.studio.forms import ChatShape, ConnectionKind, chat_shape, connection_kinds, settings_text
from promptflow_lite.sdk.studio.graph import GraphNode
from promptflow_lite.sdk.studio.jobs import Job, cancel_job, is_alive, pause_job
from promptflow_lite.sdk.studio.labels import LabelQueue, label_queue
from promptflow_lite.sdk.studio.lines import rendered_prompts, score_names, score_range
from promptflow_lite.sdk.studio.messages import chat_message, history, message_parts, save_conversation
from promptflow_lite.sdk.studio.models import (
    ModelEntry,
    bench_rows,
    default_model_name,
    machine,
    model_entries,
    model_jobs,
    start_bench,
    start_pull,
    trial_flow,
    use_as_default,
)
from promptflow_lite.sdk.studio.palette import flow_choices
from promptflow_lite.sdk.studio.reports import chart_rows, cost_rows, headline, report_html, score_rows, sentences
from promptflow_lite.sdk.studio.served import Traffic, endpoints, served_names, trace_of_request, traffic
from promptflow_lite.sdk.studio.sources import Parameter, language_of
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
from promptflow_lite.store.filters import LineFilter, RunFilter

__all__ = [
    "MISSING",
    "WAITING",
    "BatchEstimate",
    "BatchPlan",
    "ChatShape",
    "CodeFlow",
    "ComparisonJob",
    "Comparisons",
    "ConnectionKind",
    "EvaluationPlan",
    "EvaluatorError",
    "FlowCard",
    "FlowDocument",
    "FlowFiles",
    "FlowTester",
    "GraphNode",
    "GridRequest",
    "Job",
    "LabelQueue",
    "LineFilter",
    "LineResult",
    "ModelCard",
    "ModelEntry",
    "Parameter",
    "PromptflowException",
    "RunFilter",
    "RunRecord",
    "Status",
    "TestJob",
    "Traffic",
    "Workspace",
    "auto_evaluation",
    "auto_mapping",
    "batch_jobs",
    "bench_rows",
    "cancel_job",
    "canvas_data",
    "chart_rows",
    "chat_message",
    "chat_shape",
    "comparable_names",
    "connection_from_data",
    "connection_kinds",
    "cost_rows",
    "count_rows",
    "default_model_name",
    "endpoints",
    "error_card",
    "estimate",
    "evaluators",
    "flow_choices",
    "flow_graph",
    "gate_token",
    "headline",
    "history",
    "is_alive",
    "is_code_flow",
    "known_value",
    "label_queue",
    "language_of",
    "machine",
    "mapped_row",
    "message_parts",
    "model_entries",
    "model_jobs",
    "notebook_data",
    "parse_sweeps",
    "parse_value",
    "pause_job",
    "preview",
    "problems_by_node",
    "rendered_prompts",
    "report_html",
    "resume_batch",
    "run_title",
    "save_conversation",
    "score_names",
    "score_range",
    "score_rows",
    "sentences",
    "served_names",
    "settings_text",
    "shown_value",
    "start_batch",
    "start_bench",
    "start_pull",
    "start_resume",
    "templates",
    "trace_of_line",
    "trace_of_request",
    "trace_rows",
    "traffic",
    "trial_flow",
    "unused_name",
    "use_as_default",
    "value_text",
    "variants_of",
]
