"""A run as the original's SDK hands it out, and as a request that `create_or_update` takes."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptflow_lite.flow import dump_yaml_text
from promptflow_lite.records import RunRecord
from promptflow_lite.sdk.run_json import run_to_json


class Run:
    """One run: what it was asked to do and, once it was created, how it went.

    Args:
        flow: Folder, file or `module:attr`.
        name: Unique name; made from the flow and the time when not given.
        data: The data file.
        run: A base run, or its name.
        variant: `${node.variant}`.
        column_mapping: Flow input -> `${data.column}` or a literal.
        init: Constructor values of a flex class.
    """

    def __init__(
        self,
        flow: str | os.PathLike[str] | None = None,
        *,
        name: str | None = None,
        data: str | os.PathLike[str] | None = None,
        run: Run | str | None = None,
        variant: str | None = None,
        column_mapping: Mapping[str, Any] | None = None,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        environment_variables: Mapping[str, str] | None = None,
        init: Mapping[str, Any] | None = None,
        display_name: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, Any] | None = None,
        **_cloud_only: Any,
    ) -> None:
        self.flow = None if flow is None else str(flow)
        self.name = name
        self.data = None if data is None else str(data)
        self.run = run.name if isinstance(run, Run) else run
        self.variant = variant
        self.column_mapping = dict(column_mapping) if column_mapping else None
        self.connections = dict(connections) if connections else None
        self.environment_variables = dict(environment_variables or {})
        self.init = dict(init) if init else None
        self.display_name = display_name
        self.description = description
        self.tags = dict(tags or {})
        self.properties: dict[str, Any] = dict(properties or {})
        self.status: str = "NotStarted"
        self.created_on: dt.datetime | None = None
        self.portal_url: str | None = None
        self._output_path: Path | None = None
        self._record: RunRecord | None = None

    @classmethod
    def from_record(cls, record: RunRecord) -> Run:
        """The run that the store holds."""
        run = cls(
            record.flow,
            name=record.name,
            data=record.data,
            run=record.run,
            variant=record.variant,
            column_mapping=record.column_mapping,
            connections=record.connections,
            environment_variables=record.environment_variables,
            init=record.init,
            display_name=record.display_name,
            description=record.description,
            tags=record.tags,
        )
        run._record = record
        run.properties = run_to_json(record)["properties"]
        run.status = record.status.value
        run.created_on = dt.datetime.fromtimestamp(record.created_on, dt.UTC)
        run._output_path = Path(record.output_path) if record.output_path else None
        return run

    @property
    def record(self) -> RunRecord | None:
        """The stored run behind this object; None before it was created."""
        return self._record

    @property
    def _error(self) -> dict[str, Any] | None:
        return self._record.error if self._record else None

    def __str__(self) -> str:
        return dump_yaml_text(self._to_dict())

    def _to_dict(self) -> dict[str, Any]:
        if self._record is not None:
            return run_to_json(self._record)

        return {
            key: value
            for key, value in vars(self).items()
            if not key.startswith("_") and value not in (None, {}) and key != "created_on"
        }
