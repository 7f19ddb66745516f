"""The entry object of the SDK: groups of operations that are created when they are first used."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from promptflow_lite.store import Store

if TYPE_CHECKING:
    from promptflow_lite.connections import Connection
    from promptflow_lite.sdk.config import ConfigOperations
    from promptflow_lite.sdk.connections import ConnectionOperations
    from promptflow_lite.sdk.datasets import DatasetOperations
    from promptflow_lite.sdk.endpoints import EndpointOperations
    from promptflow_lite.sdk.evaluations import EvaluationOperations
    from promptflow_lite.sdk.experiments import ExperimentOperations
    from promptflow_lite.sdk.flows import FlowOperations
    from promptflow_lite.sdk.grids import GridOperations
    from promptflow_lite.sdk.labels import LabelOperations
    from promptflow_lite.sdk.models import ModelOperations
    from promptflow_lite.sdk.replay import ReplayOperations
    from promptflow_lite.sdk.runs import RunOperations
    from promptflow_lite.sdk.traces import TraceOperations
    from promptflow_lite.sdk.tuning import TuneOperations


class Client:
    """Everything a program can ask of this package.

    Args:
        database: A database URL or the path of a SQLite file. Default: `PFL_DATABASE_URL`, else a file in `PFL_HOME`.

    Thread: safe. Creating a client costs nothing; the database is opened by the first operation that needs it.
    """

    def __init__(self, database: str | os.PathLike[str] | None = None) -> None:
        self._database = database

    @cached_property
    def store(self) -> Store:
        return Store.open(self._database)

    @cached_property
    def connections(self) -> ConnectionOperations:
        """Stored connections."""
        from promptflow_lite.sdk.connections import ConnectionOperations

        return ConnectionOperations(self.store)

    @cached_property
    def flows(self) -> FlowOperations:
        """Run flows once."""
        from promptflow_lite.sdk.flows import FlowOperations

        self.config.apply()
        return FlowOperations(_ConnectionsOf(self))

    @cached_property
    def runs(self) -> RunOperations:
        """Run flows over many rows."""
        from promptflow_lite.sdk.runs import RunOperations

        self.config.apply()
        return RunOperations(self.store, self.connections)

    @cached_property
    def endpoints(self) -> EndpointOperations:
        """Serve flows; keep keys, deployments and what was answered."""
        from promptflow_lite.sdk.endpoints import EndpointOperations

        self.config.apply()
        return EndpointOperations(self.store, self.connections)

    @cached_property
    def traces(self) -> TraceOperations:
        """Traces of user code."""
        from promptflow_lite.sdk.traces import TraceOperations

        return TraceOperations(self.store)

    @cached_property
    def models(self) -> ModelOperations:
        """Local models."""
        from promptflow_lite.sdk.models import ModelOperations

        return ModelOperations(self.connections, self.store)

    @cached_property
    def config(self) -> ConfigOperations:
        """Settings that users keep."""
        from promptflow_lite.sdk.config import ConfigOperations

        return ConfigOperations()

    @cached_property
    def grids(self) -> GridOperations:
        """Experiments: many variants as runs that share their work."""
        from promptflow_lite.sdk.grids import GridOperations

        return GridOperations(self.store, self.runs, _ConnectionsOf(self))

    @cached_property
    def evaluations(self) -> EvaluationOperations:
        """Scores, comparisons and gates over stored runs."""
        from promptflow_lite.sdk.evaluations import EvaluationOperations

        self.config.apply()
        return EvaluationOperations(self.store, self.config)

    @cached_property
    def datasets(self) -> DatasetOperations:
        """Data sets with versions."""
        from promptflow_lite.sdk.datasets import DatasetOperations

        return DatasetOperations(self.store, self.evaluations)

    @cached_property
    def experiments(self) -> ExperimentOperations:
        """Several flows in sequence."""
        from promptflow_lite.sdk.experiments import ExperimentOperations

        return ExperimentOperations(self)

    @cached_property
    def labels(self) -> LabelOperations:
        """Labels that people give to outputs."""
        from promptflow_lite.sdk.labels import LabelOperations

        return LabelOperations(self.store, self.evaluations)

    @cached_property
    def replays(self) -> ReplayOperations:
        """Recorded lines, run again with an edit."""
        from promptflow_lite.sdk.replay import ReplayOperations

        return ReplayOperations(self.store, _ConnectionsOf(self))

    @cached_property
    def tuning(self) -> TuneOperations:
        """Searches for better prompts."""
        from promptflow_lite.sdk.tuning import TuneOperations

        return TuneOperations(self.runs, self.datasets, self.evaluations, _ConnectionsOf(self))

    def close(self) -> None:
        """Close the database if it was opened."""
        store = self.__dict__.pop("store", None)
        if store is not None:
            store.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _ConnectionsOf:
    """The client's connections as a source that opens the database only when a flow asks for a connection."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, name: str) -> Connection:
        return self._client.connections.get(name)

    def names(self) -> list[str]:
        return self._client.connections.names()
