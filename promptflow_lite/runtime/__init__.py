"""One line through a flow: plan, decide, bind, execute, stream. It returns results and stores nothing."""

from promptflow_lite.runtime.aggregation import AggregationResult, LineValues, aggregation_references, line_values
from promptflow_lite.runtime.base import LineExecutor
from promptflow_lite.runtime.capture import captured_prints
from promptflow_lite.runtime.create import create_executor
from promptflow_lite.runtime.environment import flow_process, resolve_environment
from promptflow_lite.runtime.executor import DagExecutor, finish_streams, streamed_outputs, timed_out_line
from promptflow_lite.runtime.node_alone import run_node_alone
from promptflow_lite.runtime.observe import NodeObserver, observed_nodes
from promptflow_lite.runtime.plain import PlainOutput, unwrap_output
from promptflow_lite.runtime.stream import RecordingIterator

__all__ = [
    "AggregationResult",
    "DagExecutor",
    "LineExecutor",
    "LineValues",
    "NodeObserver",
    "PlainOutput",
    "RecordingIterator",
    "aggregation_references",
    "captured_prints",
    "create_executor",
    "finish_streams",
    "flow_process",
    "line_values",
    "observed_nodes",
    "resolve_environment",
    "run_node_alone",
    "streamed_outputs",
    "timed_out_line",
    "unwrap_output",
]
