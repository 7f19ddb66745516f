from promptflow_lite.flow import load_flow as load_flow
from promptflow_lite.sdk.client import Client as Client
from promptflow_lite.sdk.traces import start_trace as start_trace
from promptflow_lite.tools import tool as tool
from promptflow_lite.tracing import log_metric as log_metric
from promptflow_lite.tracing import trace as trace

__version__: str
