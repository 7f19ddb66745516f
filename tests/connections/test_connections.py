"""Connection objects, files, records and the cipher."""

from __future__ import annotations

import json
import pickle
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.connections import (
    CONNECTION_TYPES,
    AzureOpenAIConnection,
    Cipher,
    CustomConnection,
    CustomStrongTypeConnection,
    DictConnectionSource,
    OpenAIConnection,
    Secret,
    ServerlessConnection,
    from_record,
    load_connection_file,
    merge_placeholders,
    public_from_record,
    reencrypt_record,
    resolve_connection,
    secrets_to_ask,
    to_public,
    to_record,
)
from promptflow_lite.errors import (
    ConnectionNameNotSetError,
    ConnectionNotFoundError,
    DecryptConnectionError,
    FlowSyntaxError,
    PromptflowException,
    RequiredEnvironmentVariablesNotSetError,
    StoreConnectionEncryptionKeyError,
    UserErrorException,
    ValidationException,
)

KEY = "sk-very-secret-4711"


class StrongConnection(CustomStrongTypeConnection):
    api_key: Secret
    api_base: str = "a class default"


@pytest.fixture
def cipher(tmp_path: Path) -> Cipher:
    return Cipher(tmp_path / "keys" / "connections.key")


def samples() -> list:
    values = {"api_key": KEY, "api_base": "http://h", "endpoint": "http://e"}
    made = [cls.from_values(values, name="c") for cls in CONNECTION_TYPES if cls is not CustomConnection]
    return [
        *made,
        CustomConnection({"k": KEY}, {"url": "http://u"}, name="c"),
        StrongConnection({"api_key": KEY}, name="c"),
    ]


@pytest.mark.parametrize("connection", samples(), ids=lambda c: type(c).__name__)
def test_no_textual_form_shows_a_secret(connection):
    shown = [repr(connection), str(connection), f"{connection}", f"{connection!r:>40}", dumps(connection)]
    shown += [dumps({"a": [connection]}), repr([connection]), "%s" % connection, json.dumps(to_public(connection))]  # noqa: UP031
    assert not [text for text in shown if KEY in text]
    assert dumps(connection) == '"c"'


@pytest.mark.parametrize("connection", samples()[:-1], ids=lambda c: type(c).__name__)
def test_records_give_back_the_same_connection_and_hold_no_clear_secret(connection, cipher):
    record = to_record(connection, cipher)
    assert KEY not in repr(record)
    assert from_record(record, cipher) == connection
    assert "******" in json.dumps(public_from_record(record))
    assert pickle.loads(pickle.dumps(connection)) == connection


def test_values_are_attributes_items_and_keywords():
    connection = AzureOpenAIConnection("http://b", KEY, api_version="v", name="n")
    assert (connection.api_base, connection.api_key, connection["api_version"], connection.type) == (
        "http://b",
        KEY,
        "v",
        "AzureOpenAI",
    )
    assert dict(**connection) == {
        "api_base": "http://b",
        "api_type": "azure",
        "api_version": "v",
        "auth_mode": "key",
        "resource_id": None,
        "api_key": KEY,
    }
    connection.api_key = "other"
    assert connection.secrets == {"api_key": "other"}
    with pytest.raises(AttributeError):
        _ = connection.nothing
    with pytest.raises(KeyError):
        _ = connection["nothing"]


def test_blank_base_url_means_the_default_endpoint():
    assert OpenAIConnection(KEY, base_url="_").base_url is None
    assert OpenAIConnection(KEY, base_url="").base_url is None


def test_custom_connection_reads_secrets_and_configs():
    connection = CustomConnection({"key": KEY}, {"url": "u"})
    assert (connection.key, connection.url, connection.is_secret("key"), connection.is_secret("url")) == (
        KEY,
        "u",
        True,
        False,
    )


def test_strong_type_reads_stored_values_not_class_defaults():
    stored = CustomConnection({"api_key": KEY}, {"api_base": "stored"}, name="n")
    connection = stored.to_strong_type(StrongConnection)
    assert (connection.api_key, connection.api_base, connection.name) == (KEY, "stored", "n")
    assert StrongConnection.declared_keys() == {"api_key": True, "api_base": False}


def test_a_stored_strong_type_remembers_its_class(cipher):
    record = to_record(StrongConnection({"api_key": KEY}, {"api_base": "b"}, name="n"), cipher)
    loaded = from_record(record, cipher)
    assert isinstance(loaded, CustomConnection)
    assert loaded.to_strong_type() == StrongConnection({"api_key": KEY}, {"api_base": "b"}, name="n")


def test_connections_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://here")
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    assert OpenAIConnection.from_env().base_url == "http://here"
    with pytest.raises(RequiredEnvironmentVariablesNotSetError, match="AZURE_OPENAI_ENDPOINT"):
        AzureOpenAIConnection.from_env()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("name: c\ntype: nope\n", ValidationException),
        ("name: c\n", ValidationException),
        ("type: open_ai\napi_key: k\n", ConnectionNameNotSetError),
        ("name: c\ntype: open_ai\n", ValidationException),
        ("name: c\ntype: azure_open_ai\napi_base: x\n", ValidationException),
        ("name: c\ntype: azure_open_ai\napi_base: x\napi_key: k\nauth_mode: other\n", ValidationException),
        ("name: c\ntype: open_ai\napi_key: [k]\n", ValidationException),
        ("name: c\ntype: custom\nconfigs: {a: b}\n", ValidationException),
        ("name: c\ntype: custom\nsecrets: [a]\n", ValidationException),
        ("name: c\ntype: custom\nsecrets: {a: b}\ncustom_type: X\n", ValidationException),
        ("name: c\nname: d\ntype: open_ai\napi_key: k\n", FlowSyntaxError),
        (f"name: c\ntype: [open_ai\napi_key: {KEY}\n", FlowSyntaxError),
        (f"name: c\ntype: open_ai\napi_key: *{KEY}\n", FlowSyntaxError),
        ("- a\n", ValidationException),
        ("", ValidationException),
    ],
)
def test_bad_files_are_user_errors_with_a_hint_and_no_secret(tmp_path, text, error):
    path = tmp_path / "conn.yaml"
    path.write_text(text)
    with pytest.raises(error) as caught:
        load_connection_file(path)
    assert caught.value.hint
    assert KEY not in str(caught.value)


def test_yaml_files_keep_values_as_text(tmp_path):
    path = tmp_path / "conn.yaml"
    path.write_text("name: c\ntype: Azure_Open_AI\napi_base: http://b\napi_key: 0123\napi_version: 2024-06-01\n")
    connection = load_connection_file(path, overrides={"api_key": "given"})
    assert (connection.api_version, connection.api_key, connection.api_type) == ("2024-06-01", "given", "azure")
    assert load_connection_file(path).api_key == "0123"


def test_keys_of_other_types_are_ignored_with_a_warning(tmp_path, caplog):
    path = tmp_path / "conn.yaml"
    path.write_text("name: c\ntype: open_ai\napi_key: k\nbase_ulr: x\ntags: {a: b}\ncreated_date: now\n")
    assert load_connection_file(path).api_key == "k"
    assert [record.args[2] for record in caplog.records] == ["base_ulr", "tags"]
    assert "'base_url'" in caplog.messages[0]


def test_token_authentication_needs_no_key(tmp_path):
    path = tmp_path / "conn.yaml"
    path.write_text("name: c\ntype: azure_open_ai\napi_base: http://b\nauth_mode: meid_token\n")
    assert load_connection_file(path).api_key is None


def test_custom_yaml_with_dotted_overrides(tmp_path):
    path = tmp_path / "conn.yaml"
    path.write_text("name: c\ntype: custom\nconfigs: {a: 1}\nsecrets: {}\n")
    connection = load_connection_file(path, name="d", overrides={"configs.b": "2", "secrets.k": KEY})
    assert (connection.name, connection.configs, connection.secrets) == ("d", {"a": "1", "b": "2"}, {"k": KEY})


def test_strong_type_yaml_is_checked_against_its_class(tmp_path):
    path = tmp_path / "conn.yaml"
    head = (
        f"name: c\ntype: custom\ncustom_type: StrongConnection\nmodule: {__name__}\npackage: p\npackage_version: 1.0\n"
    )
    path.write_text(head + f"configs: {{api_base: x}}\nsecrets: {{api_key: {KEY}}}\n")
    connection = load_connection_file(path)
    assert isinstance(connection, CustomConnection)
    assert connection.to_strong_type().api_base == "x"
    path.write_text(head + "configs: {nope: x}\nsecrets: {}\n")
    with pytest.raises(ValidationException, match="Invalid config key nope"):
        load_connection_file(path)


def test_env_files_become_custom_connections(tmp_path):
    path = tmp_path / "my.env"
    path.write_text(f"A={KEY}\nB='two words'\nEMPTY=\n")
    connection = load_connection_file(path, name="c")
    assert connection.secrets == {"A": KEY, "B": "two words"}
    with pytest.raises(ConnectionNameNotSetError):
        load_connection_file(path)


def test_environment_references_are_resolved_and_missing_ones_named(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    connection = OpenAIConnection("${env:MY_KEY}", base_url="http://${env:HOST_OF_MODEL}/v1", name="my conn")
    with pytest.raises(UserErrorException, match="HOST_OF_MODEL") as caught:
        resolve_connection(connection)
    assert "MY_CONN_BASE_URL" in caught.value.hint
    monkeypatch.setenv("HOST_OF_MODEL", "h")
    resolved = resolve_connection(connection)
    assert (resolved.api_key, resolved.base_url) == (KEY, "http://h/v1")
    assert connection.api_key == "${env:MY_KEY}"


def test_environment_overrides_win_over_stored_values_and_references(monkeypatch):
    monkeypatch.setenv("MY_CONN_API_KEY", KEY)
    monkeypatch.setenv("MY_CONN_ORGANIZATION", "org")
    source = DictConnectionSource([OpenAIConnection("${env:NOT_SET_ANYWHERE}", name="my conn")])
    assert (source.get("my conn").api_key, source.get("my conn").organization) == (KEY, "org")
    monkeypatch.setenv("CC_TOKEN", KEY)
    assert resolve_connection(CustomConnection({"token": "x"}, name="cc")).token == KEY


def test_unknown_connection_names_the_closest_one():
    with pytest.raises(ConnectionNotFoundError) as caught:
        DictConnectionSource({"open_ai": OpenAIConnection(KEY)}).get("open_a1")
    assert "'open_ai'" in caught.value.hint


@pytest.mark.parametrize("placeholder", ["", "***", "<no-change>"])
def test_placeholders_keep_the_existing_secret(placeholder):
    given = OpenAIConnection(placeholder, name="c")
    assert merge_placeholders(given, OpenAIConnection(KEY, name="c")).api_key == KEY
    assert secrets_to_ask(given, is_update=False) == ["api_key"]
    assert secrets_to_ask(given, is_update=True) == []
    with pytest.raises(ValidationException):
        merge_placeholders(given, None)


def test_user_input_placeholder_must_be_asked_for():
    given = OpenAIConnection("<user-input>", name="c")
    assert secrets_to_ask(given, is_update=True) == ["api_key"]
    with pytest.raises(ValidationException):
        merge_placeholders(given, OpenAIConnection(KEY))


def test_key_file_is_private_and_created_once_by_many_threads(tmp_path):
    path = tmp_path / "connections.key"
    tokens: list[str] = []
    threads = [threading.Thread(target=lambda: tokens.append(Cipher(path).encrypt(KEY))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {Cipher(path).decrypt(token) for token in tokens} == {KEY}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["connections.key"]


def test_rotation_keeps_old_tokens_readable_until_retired(cipher):
    record = to_record(OpenAIConnection(KEY, name="c"), cipher)
    cipher.rotate()
    assert from_record(record, cipher).api_key == KEY
    renewed = reencrypt_record(record, cipher)
    cipher.retire_old_keys()
    assert from_record(renewed, cipher).api_key == KEY
    with pytest.raises(DecryptConnectionError) as caught:
        from_record(record, cipher)
    assert "api_key" in str(caught.value)
    assert public_from_record(record)["api_key"] == "******"


def test_lost_or_damaged_key_files_are_explained(cipher):
    token = cipher.encrypt(KEY)
    cipher.path.write_text("not a key")
    with pytest.raises(StoreConnectionEncryptionKeyError):
        cipher.decrypt(token)
    cipher.path.unlink()
    with pytest.raises(DecryptConnectionError):
        cipher.decrypt(token)


def test_serverless_and_azure_types_have_their_names():
    assert ServerlessConnection(KEY, "b").type == "Serverless"
    assert [cls.type for cls in CONNECTION_TYPES][:3] == ["AzureOpenAI", "OpenAI", "Serverless"]


_LINES = st.sampled_from(
    "name: c|type: open_ai|type: custom|api_key: k|secrets: {}|secrets:|  a: b|configs: [1]|- x|type: azure_open_ai"
    "|api_base: u|auth_mode: key|custom_type: X|module: os|a: *b|!!python/none x|? x|'|a: &b".split("|")
)


@given(st.one_of(st.binary(max_size=80), st.lists(_LINES, max_size=8).map(lambda lines: "\n".join(lines).encode())))
def test_any_file_is_a_connection_or_a_clear_error(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    for name in ("c.yaml", "c.env"):
        path = folder / name
        path.write_bytes(content)
        try:
            assert load_connection_file(path, name="c").name == "c"
        except PromptflowException as error:
            hint = error.hint
            assert hint
