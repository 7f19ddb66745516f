"""Connection records by name."""

from __future__ import annotations

from promptflow_lite.store import Store


def test_record_is_kept_replaced_and_removed(store: Store) -> None:
    store.connections.put({"name": "b", "secrets": {"api_key": "token"}})
    store.connections.put({"name": "a", "configs": {}})
    store.connections.put({"name": "b", "secrets": {"api_key": "other"}})

    assert store.connections.names() == ["a", "b"]
    assert store.connections.get("b") == {"name": "b", "secrets": {"api_key": "other"}}
    assert [record["name"] for record in store.connections.list()] == ["a", "b"]
    assert store.connections.delete("a")
    assert not store.connections.delete("a")
    assert store.connections.get("a") is None
