"""The table of human labels."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, String, Table, Text

from promptflow_lite.store.tables import metadata

labels = Table(
    "human_labels",
    metadata,
    Column("run", String(500), primary_key=True),
    Column("line_number", BigInteger, primary_key=True, autoincrement=False),
    Column("annotator", String(200), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("value", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_on", Float, nullable=False),
    Index("human_labels_by_name", "name"),
)
