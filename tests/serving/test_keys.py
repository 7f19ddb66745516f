"""API keys: shape, storage form, expiry, rotation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptflow_lite.serving.keys import KeyRing, new_key, rotate_key
from promptflow_lite.serving.roles import PERMISSIONS_BY_ROLE, Permission, Role, is_allowed

NOW = 1_000_000.0


def test_a_new_key_opens_and_its_record_does_not_contain_it() -> None:
    record, text = new_key(Role.CALLER, now=NOW)
    secret = text.split("_", 2)[2]

    assert KeyRing([record]).check(text, now=NOW) == record
    assert len(secret) == 43
    assert secret not in repr(record)


@pytest.mark.parametrize("damage", ["", "x", "pfl_", "pfl_000000000000_" + "a" * 43, "\udcff", "pfl_" + "é" * 60])
def test_other_texts_open_nothing(damage: str) -> None:
    record, _ = new_key(Role.ADMIN, now=NOW)

    assert KeyRing([record]).check(damage, now=NOW) is None


def test_the_right_id_with_a_wrong_secret_opens_nothing() -> None:
    record, text = new_key(Role.CALLER, now=NOW)
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")

    assert KeyRing([record]).check(wrong, now=NOW) is None


def test_a_key_ends_with_its_lifetime() -> None:
    record, text = new_key(Role.CALLER, now=NOW, lifetime_s=60)
    ring = KeyRing([record])

    assert ring.check(text, now=NOW + 59) is not None
    assert ring.check(text, now=NOW + 60) is None


def test_a_revoked_key_opens_nothing() -> None:
    record, text = new_key(Role.CALLER, now=NOW)

    assert KeyRing([replace(record, revoked_at=NOW)]).check(text, now=NOW) is None


def test_after_rotation_both_keys_work_until_the_grace_ends() -> None:
    record, old_text = new_key(Role.OPERATOR, now=NOW, name="ci", rate_per_minute=5, quota_per_day=9, lifetime_s=100)
    old, fresh, new_text = rotate_key(record, now=NOW + 10, grace_s=30)
    ring = KeyRing([old, fresh])

    assert (fresh.role, fresh.name, fresh.rate_per_minute, fresh.quota_per_day) == (Role.OPERATOR, "ci", 5, 9)
    assert fresh.expires_at == NOW + 110
    assert old.replaced_by == fresh.id
    assert [bool(ring.check(t, now=NOW + 39)) for t in (old_text, new_text)] == [True, True]
    assert [bool(ring.check(t, now=NOW + 41)) for t in (old_text, new_text)] == [False, True]


def test_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []

    def compare(a: str, b: str) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr("hmac.compare_digest", compare)
    record, text = new_key(Role.CALLER, now=NOW)
    ring = KeyRing([record])
    ring.check(text, now=NOW)
    ring.check("pfl_000000000000_" + "a" * 43, now=NOW)
    ring.check("garbage", now=NOW)

    assert len(compared) == 3
    assert {len(a) for pair in compared for a in pair} == {64}


@pytest.mark.parametrize(
    ("role", "permissions"),
    [
        (Role.CALLER, {Permission.DESCRIBE, Permission.CALL}),
        (Role.READER, {Permission.DESCRIBE, Permission.READ}),
        (Role.OPERATOR, {Permission.DESCRIBE, Permission.CALL, Permission.READ, Permission.OPERATE}),
        (Role.ADMIN, set(Permission)),
    ],
)
def test_each_role_may_do_exactly_this(role: Role, permissions: set[Permission]) -> None:
    assert set(PERMISSIONS_BY_ROLE) == set(Role)
    assert {p for p in Permission if is_allowed(role, p)} == permissions
