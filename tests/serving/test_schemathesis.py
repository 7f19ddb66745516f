"""Requests made up from the OpenAPI document: none of them is a fault of the server, none leaves the document."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import CHECKS

from .conftest import MakeClient

NAMES = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["plain", "chat"])
def test_made_up_requests_find_no_fault(serve: MakeClient, plain_flow: Path, chat_flow: Path, kind: str) -> None:
    client = serve(plain_flow if kind == "plain" else chat_flow)
    schema = schemathesis.openapi.from_asgi("/openapi.json", client.app)
    checks = [CHECKS.get_one(name) for name in NAMES]
    quiet = [
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.filter_too_much,
        hypothesis.HealthCheck.data_too_large,
    ]

    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(max_examples=40, deadline=None, database=None, suppress_health_check=quiet)
        @hypothesis.given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            response = case.call()
            case.validate_response(response, checks=checks)

        check()
