"""Runs prompties as flows: one line is one call of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptflow_lite.connections import ConnectionSource
from promptflow_lite.flow import InputCoercion, InputSpec, PromptyFlow, load_prompty
from promptflow_lite.providers import ModelClient
from promptflow_lite.runtime.single import SingleCallExecutor, is_stream
from promptflow_lite.tools.prompty import PromptyCall
from promptflow_lite.tracing import close_span, open_span


class PromptyExecutor(SingleCallExecutor):
    """Executes one prompty; safe to use from several threads at once.

    Args:
        flow: The prompty.
        connections: Where the connection that it names is looked up.
        init: Overrides of the front matter, deep-merged (`{"model": {"parameters": {...}}}`).
        client: The model to ask instead of the configured one.
    """

    def __init__(
        self,
        flow: PromptyFlow,
        connections: ConnectionSource,
        *,
        init: Mapping[str, Any] | None = None,
        client: ModelClient | None = None,
    ) -> None:
        self.flow = load_prompty(flow.path, overrides=init)
        self.name = self.flow.name
        self.prompty = PromptyCall(self.flow, connections, client=client)

    @property
    def input_specs(self) -> Mapping[str, InputSpec]:
        """Declared inputs, or those that the sample shows."""
        return self.flow.inputs

    def arguments(self, inputs: Mapping[str, Any], line_number: int | None) -> dict[str, Any]:
        """The declared inputs, typed; the sample when there are none, but not for a row of data."""
        given = inputs or self.flow.sample or {}
        known = {name: value for name, value in given.items() if name in self.flow.inputs and name != "line_number"}
        return InputCoercion(self.flow.inputs, root=self.flow.root)(known, line_number)

    def call(self, arguments: dict[str, Any], *, allow_stream: bool) -> Any:
        """Ask the model."""
        span, token = open_span(self.name, "Function", arguments)
        try:
            output = self.prompty(arguments)
        except Exception as error:
            close_span(span, token, error={"type": type(error).__name__, "message": str(error)})
            raise

        close_span(span, token, output=None if is_stream(output) else output)
        return output
