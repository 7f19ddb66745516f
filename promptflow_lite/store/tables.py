"""The tables, in SQLAlchemy Core, portable between SQLite and PostgreSQL.

A line is one row: its inputs, output, error and nodes are JSON texts, so that recording a line is one insert.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)

metadata = MetaData()

migrations = Table(
    "migrations",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("applied_on", Float, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(500), nullable=False, unique=True),
    Column("flow", Text, nullable=False),
    Column("status", String(30), nullable=False),
    Column("created_on", Float, nullable=False),
    Column("start_time", Float),
    Column("end_time", Float),
    Column("display_name", Text),
    Column("description", Text),
    Column("tags", Text),
    Column("flow_name", Text),
    Column("data", Text),
    Column("run", String(500)),
    Column("variant", Text),
    Column("column_mapping", Text),
    Column("connections", Text),
    Column("environment_variables", Text),
    Column("init", Text),
    Column("resume_from", String(500)),
    Column("output_path", Text),
    Column("is_archived", Boolean, nullable=False, default=False, server_default=false()),
    Column("error", Text),
    Column("metrics", Text),
    Column("properties", Text),
    Column("total_lines", Integer),
    Column("completed_lines", Integer, nullable=False, default=0, server_default="0"),
    Column("failed_lines", Integer, nullable=False, default=0, server_default="0"),
    Column("prompt_tokens", BigInteger, nullable=False, default=0, server_default="0"),
    Column("completion_tokens", BigInteger, nullable=False, default=0, server_default="0"),
    Column("pid", Integer),
    Column("process", Text),
    Column("heartbeat", Float),
    Column("is_cancel_requested", Boolean, nullable=False, default=False, server_default=false()),
    Index("runs_by_creation", "created_on"),
    Index("runs_by_status", "status"),
)
"""`process` identifies the executing process beyond its pid, which the system may hand out again."""

lines = Table(
    "lines",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("line_number", BigInteger, primary_key=True, autoincrement=False),
    Column("status", String(30), nullable=False),
    Column("inputs", Text),
    Column("output", Text),
    Column("error", Text),
    Column("nodes", Text),
    Column("start_time", Float),
    Column("end_time", Float),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("model_calls", Integer, nullable=False),
)

aggregations = Table(
    "aggregations",
    metadata,
    Column("run_id", Integer, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("node", String(500), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("result", Text, nullable=False),
)

connections = Table(
    "connections",
    metadata,
    Column("name", String(500), primary_key=True),
    Column("record", Text, nullable=False),
)
