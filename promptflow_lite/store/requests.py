"""Requests that endpoints answered, what people and evaluators said about them, and alerts."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Select, delete, func, insert, select
from sqlalchemy.sql.elements import ColumnElement

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.records import AlertRecord, Feedback, RequestScore, ServedRequest
from promptflow_lite.records.data import node_to_data
from promptflow_lite.store.database import Database
from promptflow_lite.store.serving_tables import alerts, feedback, key_usage, request_scores, requests

_COLUMNS = tuple(column.name for column in requests.columns if column.name != "id")
_JSON_COLUMNS = ("inputs", "output", "error", "nodes")


class RequestRepository:
    """Recorded requests, newest last."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = database.insert
        marks = ", ".join("?" * len(_COLUMNS))
        self._insert_sql = f"INSERT INTO requests ({', '.join(_COLUMNS)}) VALUES ({marks})"  # noqa: S608

    def add(self, records: Sequence[ServedRequest], *, usage: tuple[int, Mapping[str, int]] | None = None) -> None:
        """Record requests in one transaction; either all of them are kept or none.

        Args:
            records: The requests, in the order they ended.
            usage: A day (days since the epoch) and how many requests each caller has sent in it.
        """
        rows = [_to_row(record) for record in records]
        with self._database.write() as connection:
            if rows and self._database.is_sqlite:
                connection.exec_driver_sql(self._insert_sql, rows)
            elif rows:
                connection.execute(insert(requests), [dict(zip(_COLUMNS, row, strict=True)) for row in rows])

            if usage is not None and usage[1]:
                statement = self._insert(key_usage)
                counts = [{"day": usage[0], "caller": caller, "requests": n} for caller, n in usage[1].items()]
                update = {"requests": statement.excluded.requests}
                connection.execute(
                    statement.on_conflict_do_update(index_elements=["day", "caller"], set_=update), counts
                )

    def usage(self, day: int) -> dict[str, int]:
        """Requests of each caller on that day."""
        query = select(key_usage.c.caller, key_usage.c.requests).where(key_usage.c.day == day)
        with self._database.read() as connection:
            return {row.caller: row.requests for row in connection.execute(query)}

    def list(
        self,
        endpoint: str | None = None,
        *,
        deployment: str | None = None,
        since: float | None = None,
        until: float | None = None,
        is_shadow: bool | None = None,
        only_failed: bool = False,
        request_ids: Sequence[str] | None = None,
        after_id: int | None = None,
        limit: int | None = 100,
        newest_first: bool = True,
    ) -> builtins.list[ServedRequest]:
        """Requests that fit all given conditions."""
        query = select(requests)
        for condition in _conditions(endpoint, deployment, since, until, is_shadow, only_failed):
            query = query.where(condition)

        if request_ids is not None:
            query = query.where(requests.c.request_id.in_(request_ids))

        if after_id is not None:
            query = query.where(requests.c.id > after_id)

        query = query.order_by(requests.c.id.desc() if newest_first else requests.c.id).limit(limit)
        return self._read(query)

    def get(self, request_id: str) -> ServedRequest | None:
        """The answered request of that id (never a shadow's), the newest when the id came twice."""
        query = (
            select(requests)
            .where(requests.c.request_id == request_id, requests.c.is_shadow.is_(False))
            .order_by(requests.c.id.desc())
            .limit(1)
        )
        return next(iter(self._read(query)), None)

    def count(self, endpoint: str | None = None, *, since: float | None = None, is_shadow: bool | None = None) -> int:
        query = select(func.count()).select_from(requests)
        for condition in _conditions(endpoint, None, since, None, is_shadow, False):
            query = query.where(condition)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def delete_before(self, time: float) -> int:
        """Forget requests that started earlier; returns how many."""
        with self._database.write() as connection:
            return connection.execute(delete(requests).where(requests.c.start_time < time)).rowcount

    # --- feedback ---

    def add_feedback(self, record: Feedback) -> None:
        values = {**asdict(record), "body": dumps(record.body)}
        with self._database.write() as connection:
            connection.execute(insert(feedback).values(**values))

    def feedback(self, endpoint: str | None = None, *, since: float | None = None) -> builtins.list[Feedback]:
        """What was said, oldest first."""
        query = select(feedback).order_by(feedback.c.id)
        if endpoint is not None:
            query = query.where(feedback.c.endpoint == endpoint)

        if since is not None:
            query = query.where(feedback.c.at >= since)

        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()

        return [
            Feedback(
                at=row["at"],
                endpoint=row["endpoint"],
                request_id=row["request_id"],
                caller=row["caller"],
                body=loads(row["body"]),
            )
            for row in rows
        ]

    # --- scores ---

    def add_scores(self, records: Iterable[RequestScore]) -> None:
        """Keep scores; a second judgement by the same evaluator replaces the first."""
        rows = [{**asdict(record), "details": dumps(record.details)} for record in records]
        if not rows:
            return

        statement = self._insert(request_scores)
        changed = {name: statement.excluded[name] for name in ("value", "at", "details")}
        keys = ["request_row", "evaluator", "metric"]
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)

    def scores(
        self, endpoint: str, *, since: float | None = None, evaluator: str | None = None
    ) -> builtins.list[tuple[ServedRequest, RequestScore]]:
        """Scores with the requests they are about, oldest request first."""
        query = (
            select(requests, request_scores.c.evaluator, request_scores.c.metric, request_scores.c.value)
            .add_columns(request_scores.c.at, request_scores.c.details)
            .join(request_scores, request_scores.c.request_row == requests.c.id)
            .where(requests.c.endpoint == endpoint)
            .order_by(requests.c.id)
        )
        if since is not None:
            query = query.where(requests.c.start_time >= since)

        if evaluator is not None:
            query = query.where(request_scores.c.evaluator == evaluator)

        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()

        return [
            (
                _from_row(row),
                RequestScore(
                    request_row=row["id"],
                    evaluator=row["evaluator"],
                    metric=row["metric"],
                    value=row["value"],
                    at=row["at"],
                    details=loads(row["details"]) if row["details"] else None,
                ),
            )
            for row in rows
        ]

    # --- alerts ---

    def add_alert(self, record: AlertRecord) -> None:
        with self._database.write() as connection:
            connection.execute(insert(alerts).values(**asdict(record)))

    def alerts(self, endpoint: str | None = None, *, limit: int = 100) -> builtins.list[AlertRecord]:
        """Alerts, newest first."""
        query = select(alerts).order_by(alerts.c.id.desc()).limit(limit)
        if endpoint is not None:
            query = query.where(alerts.c.endpoint == endpoint)

        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()

        return [AlertRecord(**{name: row[name] for name in row if name != "id"}) for row in rows]

    def _read(self, query: Select[Any]) -> builtins.list[ServedRequest]:
        with self._database.read() as connection:
            return [_from_row(row) for row in connection.execute(query).mappings()]


def _conditions(
    endpoint: str | None,
    deployment: str | None,
    since: float | None,
    until: float | None,
    is_shadow: bool | None,
    only_failed: bool,
) -> builtins.list[ColumnElement[bool]]:
    conditions: builtins.list[ColumnElement[bool]] = []
    if endpoint is not None:
        conditions.append(requests.c.endpoint == endpoint)

    if deployment is not None:
        conditions.append(requests.c.deployment == deployment)

    if since is not None:
        conditions.append(requests.c.start_time >= since)

    if until is not None:
        conditions.append(requests.c.start_time < until)

    if is_shadow is not None:
        conditions.append(requests.c.is_shadow.is_(is_shadow))

    if only_failed:
        conditions.append(requests.c.status_code >= 400)

    return conditions


def _to_row(record: ServedRequest) -> tuple[Any, ...]:
    """Values in the order of `_COLUMNS`. Cost: the hottest function of recording; a few microseconds."""
    return (
        record.request_id,
        record.endpoint,
        record.deployment,
        record.start_time,
        record.duration_ms,
        record.first_token_ms,
        record.status_code,
        record.is_shadow,
        record.caller,
        record.session,
        record.trace_id,
        record.parent_span_id,
        None if record.inputs is None else dumps(record.inputs),
        None if record.output is None else dumps(record.output),
        None if record.error is None else dumps(record.error),
        dumps([node_to_data(node) for node in record.nodes]),
        record.prompt_tokens,
        record.completion_tokens,
        record.model_calls,
        record.cost,
    )


def _from_row(row: Any) -> ServedRequest:
    values = {name: row[name] for name in _COLUMNS}
    for name in _JSON_COLUMNS:
        values[name] = loads(values[name]) if values[name] is not None else None
    values["nodes"] = values["nodes"] or []
    values["is_shadow"] = bool(values["is_shadow"])
    return ServedRequest(id=row["id"], **values)
