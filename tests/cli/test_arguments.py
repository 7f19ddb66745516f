"""KEY=VALUE lists and their relatives."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptflow_lite.cli.arguments import nested, parse_connections, parse_environment, parse_inputs, parse_pairs
from promptflow_lite.errors import UsageError


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("a=1", {"a": "1"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=", {"a": ""}),
        ("'a=x y'", {"a": "x y"}),
        ('a="x y"', {"a": "x y"}),
        ("a='x\"", {"a": "'x\""}),
        ("a='", {"a": "'"}),
        ("a=${env:X}", {"a": "${env:X}"}),
        ("a=true", {"a": "true"}),
    ],
)
def test_pairs_split_at_the_first_equals_and_stay_strings(item: str, expected: dict[str, str]) -> None:
    assert parse_pairs([item], "--set") == expected


@pytest.mark.parametrize("item", ["a", "=1", ""])
def test_item_without_a_key_or_equals_is_wrong_usage(item: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_pairs([item], "--inputs")

    assert caught.value.hint == "Usage: --inputs KEY=VALUE [KEY=VALUE ...]"


def test_dotted_keys_nest() -> None:
    assert nested({"a.b.c": 1, "a.d": 2, "e": 3}) == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}
    with pytest.raises(UsageError, match="does not fit 'a'"):
        nested({"a": 1, "a.b": 2})


def test_inputs_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('\ufeff{"q": [1]}', "utf-8")
    (tmp_path / "b.jsonl").write_text('\n{"q": 1}\n{"q": 2}\n')

    assert parse_inputs([str(tmp_path / "a.json")]) == {"q": [1]}
    assert parse_inputs([str(tmp_path / "b.jsonl")]) == {"q": 1}
    assert parse_inputs(["file=a.json"]) == {"file": "a.json"}
    assert parse_inputs(None) == {}


@pytest.mark.parametrize("content", ["[1]", "{", ""])
def test_inputs_file_must_hold_an_object(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)

    with pytest.raises(UsageError) as caught:
        parse_inputs([str(path)])

    assert str(caught.value.where) == str(path)


def test_environment_mixes_pairs_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text('A=1\nB="x y"\nC\n')
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")

    assert parse_environment(None) == {}
    assert parse_environment([]) == {"A": "1", "B": "x y", "C": ""}
    assert parse_environment(["../.env", "A=2"]) == {"A": "2", "B": "x y", "C": ""}
    with pytest.raises(UsageError, match="does not exist"):
        parse_environment(["none.env"])


def test_connection_overrides_are_grouped_by_node() -> None:
    given = ["chat.connection=mine", "chat.deployment_name=gpt", "b.c=d"]

    assert parse_connections(given) == {"chat": {"connection": "mine", "deployment_name": "gpt"}, "b": {"c": "d"}}
    with pytest.raises(UsageError, match=r"NODE\.KEY=VALUE"):
        parse_connections(["chat=mine"])
