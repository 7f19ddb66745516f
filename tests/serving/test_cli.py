"""`pfl endpoint` and `pfl audit` through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.cli.main import main
from promptflow_lite.sdk.client import Client


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def command(*arguments: str, code: int = 0) -> Any:
        assert main(list(arguments)) == code
        out = capsys.readouterr()
        if code:
            return out.err
        try:
            return json.loads(out.out)
        except ValueError:
            return out.out

    return command


def test_an_endpoint_lives_through_its_commands(run: Any, plain_flow: Path, chat_flow: Path) -> None:
    made = run(
        "endpoint",
        "create",
        "-n",
        "e",
        "--deployment",
        f"v1={plain_flow}",
        f"v2={chat_flow}",
        "--weight",
        "v1=3",
        "v2=1",
    )
    assert [(d["name"], d["weight"]) for d in made["deployments"]] == [("v1", 3.0), ("v2", 1.0)]

    changed = run("endpoint", "update", "-n", "e", "--weight", "v2=5", "--mirror", "v1=0.5", "--drain", "v1")
    assert [(d["weight"], d["mirror_fraction"], d["is_draining"]) for d in changed["deployments"]] == [
        (3.0, 0.5, True),
        (5.0, 0.0, False),
    ]
    assert run("endpoint", "rollback", "-n", "e")["version"] == 3
    assert len(run("endpoint", "show", "-n", "e", "--versions")) == 3
    assert [e["name"] for e in run("endpoint", "list", "-o", "json")] == ["e"]
    assert run("endpoint", "logs", "-o", "json") == []
    run("endpoint", "delete", "-n", "e", "--yes")
    assert "cannot be found" in run("endpoint", "show", "-n", "e", code=1)


def test_keys_are_shown_once_and_audited(run: Any) -> None:
    made = run("endpoint", "keys", "create", "--role", "reader", "--expires-in", "90d", "--rate", "60")
    assert made["key"].startswith(f"pfl_{made['id']}_")

    rotated = run("endpoint", "keys", "rotate", made["id"], "--grace", "1h")
    run("endpoint", "keys", "revoke", rotated["id"])
    listed = run("endpoint", "keys", "list", "-o", "json")
    assert [key["state"] for key in listed] == ["active", "ended"]
    assert made["key"].split("_")[2] not in json.dumps(listed)

    assert [e["action"] for e in run("audit", "list", "-o", "json")] == ["key.revoke", "key.rotate", "key.create"]
    assert "intact: 3 entries" in run("audit", "verify")


def test_tampering_fails_the_verification(run: Any) -> None:
    from sqlalchemy import text

    run("endpoint", "keys", "create")
    with Client() as client, client.store._database.write() as connection:
        connection.execute(text("UPDATE audit SET target = 'x'"))

    assert "audit log was changed" in run("audit", "verify", code=1)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["endpoint", "create", "-n", "e", "--deployment", "v1"], "KEY=VALUE"),
        (["endpoint", "create", "-n", "e", "--deployment", "v1=f", "--weight", "v1=much"], "needs numbers"),
        (["endpoint", "keys", "create", "--expires-in", "soon"], "no length of time"),
        (["serve", "flow", "--endpoint", "e"], "not both"),
        (["serve", "flow", "--jwks", "keys.json"], "--issuer"),
    ],
)
def test_wrong_usage_is_explained(run: Any, arguments: list[str], part: str) -> None:
    assert part in run(*arguments, code=2)


def test_an_open_endpoint_is_not_served_to_other_machines(run: Any, plain_flow: Path) -> None:
    message = run("serve", str(plain_flow), "--host", "0.0.0.0", code=1)

    assert "asks for no key" in message
    assert "--auth keys" in message
