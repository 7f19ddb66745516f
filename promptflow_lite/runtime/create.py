"""From a loaded flow to something that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptflow_lite.connections import ConnectionSource
from promptflow_lite.flow import DagFlow, FlexFlow, Flow
from promptflow_lite.runtime.base import LineExecutor
from promptflow_lite.runtime.executor import DagExecutor
from promptflow_lite.tools import ToolContext


def create_executor(
    flow: Flow,
    connections: ConnectionSource,
    *,
    connection_overrides: Mapping[str, Mapping[str, Any]] | None = None,
    init: Mapping[str, Any] | None = None,
) -> LineExecutor:
    """Prepare a flow for execution: import its code, resolve tools and connections.

    Args:
        flow: The loaded flow.
        connections: Where connections are looked up.
        connection_overrides: Node name -> inputs to replace (`connection`, `deployment_name`, `model`); DAG flows only.
        init: Constructor values of a flex class, or overrides of a prompty.

    Raises:
        PromptflowException: the flow's code, tools or connections cannot be prepared.
    """
    if isinstance(flow, DagFlow):
        overrides = {name: dict(values) for name, values in (connection_overrides or {}).items()}
        context = ToolContext(
            root=flow.root, connections=connections, message_format=flow.message_format, connection_overrides=overrides
        )
        return DagExecutor(flow, context)

    if isinstance(flow, FlexFlow):
        from promptflow_lite.runtime.flex import FlexExecutor

        return FlexExecutor(flow, connections, init=init)

    from promptflow_lite.runtime.prompty import PromptyExecutor

    return PromptyExecutor(flow, connections, init=init)
