"""Tables of endpoints: requests, feedback, scores, keys, the audit log, deployments, alerts and traces of user code.

A request is one row, its nodes one JSON text, so that recording it is one insert.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, Text

from promptflow_lite.store.tables import metadata

_Id = BigInteger().with_variant(Integer, "sqlite")

requests = Table(
    "requests",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("request_id", String(128), nullable=False),
    Column("endpoint", String(200), nullable=False),
    Column("deployment", String(200), nullable=False),
    Column("start_time", Float, nullable=False),
    Column("duration_ms", Float, nullable=False),
    Column("first_token_ms", Float),
    Column("status_code", Integer, nullable=False),
    Column("is_shadow", Boolean, nullable=False),
    Column("caller", Text),
    Column("session", Text),
    Column("trace_id", String(32)),
    Column("parent_span_id", String(16)),
    Column("inputs", Text),
    Column("output", Text),
    Column("error", Text),
    Column("nodes", Text),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("model_calls", Integer, nullable=False),
    Column("cost", Float, nullable=False),
    Index("requests_by_time", "endpoint", "start_time"),
    Index("requests_by_request_id", "request_id"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at", Float, nullable=False),
    Column("endpoint", String(200), nullable=False),
    Column("request_id", String(128)),
    Column("caller", Text),
    Column("body", Text, nullable=False),
    Index("feedback_by_time", "endpoint", "at"),
)

request_scores = Table(
    "request_scores",
    metadata,
    Column("request_row", _Id, ForeignKey("requests.id", ondelete="CASCADE"), primary_key=True),
    Column("evaluator", String(200), primary_key=True),
    Column("metric", String(200), primary_key=True),
    Column("value", Float),
    Column("at", Float, nullable=False),
    Column("details", Text),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("rate_per_minute", Integer),
    Column("quota_per_day", Integer),
    Column("replaced_by", String(20)),
)

key_usage = Table(
    "key_usage",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("caller", String(200), primary_key=True),
    Column("requests", Integer, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("previous", String(64), nullable=False),
    Column("seal", String(64), nullable=False),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("spec", Text, nullable=False),
    Column("modified_at", Float, nullable=False),
    Column("is_deleted", Boolean, nullable=False),
)
"""Every version is kept, so that an endpoint can be rolled back."""

alerts = Table(
    "alerts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at", Float, nullable=False),
    Column("endpoint", String(200), nullable=False),
    Column("rule", Text, nullable=False),
    Column("value", Float, nullable=False),
    Column("message", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Index("alerts_by_time", "endpoint", "at"),
)

traces = Table(
    "traces",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("trace_id", String(32), nullable=False),
    Column("collection", String(200), nullable=False),
    Column("session", Text),
    Column("name", Text, nullable=False),
    Column("kind", String(50), nullable=False),
    Column("start_time", Float, nullable=False),
    Column("duration_ms", Float, nullable=False),
    Column("is_error", Boolean, nullable=False),
    Column("resource", Text, nullable=False),
    Column("spans", Text, nullable=False),
    Index("traces_by_time", "collection", "start_time"),
    Index("traces_by_trace_id", "trace_id"),
)

SERVING_TABLES = [requests, feedback, request_scores, api_keys, key_usage, audit, endpoints, alerts, traces]
