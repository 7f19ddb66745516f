"""Human labels: one a line, annotator and question; a later one replaces an earlier one."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

from sqlalchemy import and_, delete, insert, select

from promptflow_lite.records import HumanLabel
from promptflow_lite.store.database import Database
from promptflow_lite.store.label_tables import labels


class LabelRepository:
    """Labels of lines.

    Thread: safe. Every method is its own short transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, label: HumanLabel) -> None:
        """Record a label, replacing the annotator's earlier one."""
        same = and_(
            labels.c.run == label.run,
            labels.c.line_number == label.line,
            labels.c.annotator == label.annotator,
            labels.c.name == label.name,
        )
        with self._database.write() as connection:
            connection.execute(delete(labels).where(same))
            connection.execute(
                insert(labels).values(
                    run=label.run,
                    line_number=label.line,
                    annotator=label.annotator,
                    name=label.name,
                    value=label.value,
                    comment=label.comment,
                    created_on=label.created_on,
                )
            )

    def list(
        self,
        *,
        runs: Sequence[str] | None = None,
        name: str | None = None,
        annotator: str | None = None,
    ) -> builtins.list[HumanLabel]:
        """Labels by run, line and annotator."""
        query = select(labels).order_by(labels.c.run, labels.c.line_number, labels.c.annotator, labels.c.name)
        if runs is not None:
            query = query.where(labels.c.run.in_(runs))

        if name is not None:
            query = query.where(labels.c.name == name)

        if annotator is not None:
            query = query.where(labels.c.annotator == annotator)

        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()

        return [
            HumanLabel(
                run=row["run"],
                line=row["line_number"],
                annotator=row["annotator"],
                name=row["name"],
                value=row["value"],
                comment=row["comment"],
                created_on=row["created_on"],
            )
            for row in rows
        ]
