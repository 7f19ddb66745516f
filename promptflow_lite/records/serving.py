"""What an endpoint keeps: keys, requests, feedback, scores, deployments, audit entries and alerts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


class Role(StrEnum):
    """What a key or token stands for."""

    CALLER = "caller"
    """Runs the flow."""
    READER = "reader"
    """Looks at metrics, requests and deployments."""
    OPERATOR = "operator"
    """Runs, looks, and changes deployments."""
    ADMIN = "admin"
    """Everything, keys and the audit log included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as stored; the secret itself is nowhere. Times are seconds since the epoch."""

    id: str
    role: Role
    digest: str
    """SHA-256 (hex) of id and secret."""
    name: str = ""
    created_at: float = 0.0
    expires_at: float | None = None
    revoked_at: float | None = None
    rate_per_minute: int | None = None
    """Requests a minute; None is unlimited."""
    quota_per_day: int | None = None
    """Requests a day (UTC); None is unlimited."""
    replaced_by: str | None = None
    """Id of the key that a rotation created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One administrative act."""

    seq: int
    """Counts from 1, without gaps."""
    at: float
    """Seconds since the epoch."""
    actor: str
    action: str
    """`key.create`, `endpoint.update` …"""
    target: str
    before: Any = None
    after: Any = None
    previous: str = ""
    """Seal of the entry before."""
    seal: str = ""


@dataclass(slots=True, kw_only=True)
class ServedRequest:
    """One request that an endpoint answered, or that a shadow deployment ran beside it."""

    request_id: str
    endpoint: str
    deployment: str
    start_time: float
    """Seconds since the epoch."""
    duration_ms: float = 0.0
    first_token_ms: float | None = None
    status_code: int = 200
    is_shadow: bool = False
    caller: str | None = None
    """Id of the key, or subject of the token."""
    session: str | None = None
    trace_id: str | None = None
    parent_span_id: str | None = None
    """The caller's span, when the request continued a trace."""
    inputs: dict[str, Any] | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    nodes: list[Any] = field(default_factory=list)
    """`NodeResult`s while the request is fresh; plain data when it was read from the store."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_calls: int = 0
    cost: float = 0.0
    id: int | None = None
    """Row number; None until stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What somebody said about an answer."""

    at: float
    endpoint: str
    body: Any
    request_id: str | None = None
    caller: str | None = None

    @property
    def is_dislike(self) -> bool:
        """Read from the usual fields: `rating`, `score`, `thumbs`, `liked`, `feedback`."""
        if not isinstance(self.body, dict):
            return False

        return any(_is_negative(name, self.body[name]) for name in _VERDICT_FIELDS if name in self.body)


_VERDICT_FIELDS = ("rating", "score", "thumbs", "liked", "like", "feedback")
_NEGATIVE_WORDS = frozenset(("down", "bad", "dislike", "disliked", "negative", "no", "-1", "0", "false", "thumbs_down"))


def _is_negative(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return not value

    if isinstance(value, int | float):
        return value <= (2 if name == "rating" else 0)

    return isinstance(value, str) and value.strip().lower() in _NEGATIVE_WORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestScore:
    """What an evaluator said about a recorded request."""

    request_row: int
    """`ServedRequest.id`"""
    evaluator: str
    metric: str
    value: float | None
    at: float
    details: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSpec:
    """One version of a flow behind an endpoint."""

    name: str
    flow: str
    """Path of the flow."""
    variant: str | None = None
    weight: float = 0.0
    """Share of the traffic relative to the other deployments."""
    mirror_fraction: float = 0.0
    """Share of the other deployments' requests that this one also runs, unseen, in 0.0-1.0."""
    is_draining: bool = False
    """Finishes what it has and takes nothing new, sticky sessions included."""
    prompt_price: float = 0.0
    """Cost of a million prompt tokens."""
    completion_price: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSpec:
    """A name that clients call, and the deployments that answer."""

    name: str
    deployments: tuple[DeploymentSpec, ...] = ()
    is_sticky: bool = True
    """Requests of one session go to one deployment as long as its weight stands."""
    version: int = 1
    """Counts changes; a roll back is a change, too."""
    modified_at: float = 0.0

    def deployment(self, name: str) -> DeploymentSpec | None:
        return next((deployment for deployment in self.deployments if deployment.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRecord:
    """A rule that was broken."""

    at: float
    endpoint: str
    rule: str
    value: float
    message: str
    state: Literal["firing", "resolved"] = "firing"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRecord:
    """A finished trace of user code outside a flow."""

    trace_id: str
    collection: str
    name: str
    kind: str
    start_time: float
    duration_ms: float
    is_error: bool
    session: str | None = None
    resource: dict[str, Any] = field(default_factory=dict)
    spans: Any = None
    """The tree of spans: a `Span` when fresh, data when read from the store."""
