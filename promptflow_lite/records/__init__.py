"""Plain data that crosses the borders between packages; no behaviour beyond conversion to JSON."""

from promptflow_lite.records.label import HumanLabel
from promptflow_lite.records.results import LineResult, NodeResult, Span
from promptflow_lite.records.run import RunRecord
from promptflow_lite.records.serving import (
    AlertRecord,
    ApiKey,
    AuditEntry,
    DeploymentSpec,
    EndpointSpec,
    Feedback,
    RequestScore,
    Role,
    ServedRequest,
    TraceRecord,
)
from promptflow_lite.records.status import Status
from promptflow_lite.records.usage import Usage

__all__ = [
    "AlertRecord",
    "ApiKey",
    "AuditEntry",
    "DeploymentSpec",
    "EndpointSpec",
    "Feedback",
    "HumanLabel",
    "LineResult",
    "NodeResult",
    "RequestScore",
    "Role",
    "RunRecord",
    "ServedRequest",
    "Span",
    "Status",
    "TraceRecord",
    "Usage",
]
