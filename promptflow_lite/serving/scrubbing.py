"""Keeps connections' secrets out of records: whatever user code prints, returns or raises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.connections import ConnectionSource, secret_values
from promptflow_lite.errors import PromptflowException
from promptflow_lite.records import NodeResult, ServedRequest
from promptflow_lite.records.data import node_from_data, node_to_data

SCRUBBED = "**data_scrubbed**"


def secrets_of(connections: ConnectionSource) -> tuple[str, ...]:
    """The secret values of all connections, longest first."""
    values: set[str] = set()
    for name in connections.names():
        try:
            connection = connections.get(name)
        except PromptflowException:  # a connection that cannot be resolved gives its secrets to nobody
            continue

        values.update(secret_values(connection))
    return tuple(sorted(values, key=len, reverse=True))


def scrubber(secrets: Sequence[str]) -> Callable[[ServedRequest], ServedRequest] | None:
    """A function that replaces the secrets in a request; None when there are none."""
    if not secrets:
        return None

    # Values are searched in their JSON form, where quotes and backslashes inside a secret are escaped, also once more
    # as Python's `repr` writes them into messages.
    forms = dict.fromkeys(form for secret in secrets for form in (secret, repr(secret)[1:-1]))
    written = [dumps(form)[1:-1] for form in forms]

    def clean(value: Any) -> Any:
        text = dumps(value)
        if not any(secret in text for secret in written):
            return value

        for secret in written:
            text = text.replace(secret, SCRUBBED)
        return loads(text)

    def clean_node(node: NodeResult) -> NodeResult:
        data = node_to_data(node)
        cleaned = clean(data)
        return node if cleaned is data else node_from_data(cleaned)

    def scrub(record: ServedRequest) -> ServedRequest:
        return replace(
            record,
            inputs=clean(record.inputs),
            output=clean(record.output),
            error=clean(record.error),
            nodes=[clean_node(node) for node in record.nodes],
        )

    return scrub
