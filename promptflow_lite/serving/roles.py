"""Who may do what: roles, and the permission that each kind of request needs."""

from __future__ import annotations

from enum import StrEnum

from promptflow_lite.records import Role


class Permission(StrEnum):
    """What a request needs."""

    DESCRIBE = "describe"
    """Documentation of the interface: any role has it."""
    CALL = "call"
    READ = "read"
    OPERATE = "operate"
    ADMINISTER = "administer"


PERMISSIONS_BY_ROLE: dict[Role, frozenset[Permission]] = {
    Role.CALLER: frozenset({Permission.DESCRIBE, Permission.CALL}),
    Role.READER: frozenset({Permission.DESCRIBE, Permission.READ}),
    Role.OPERATOR: frozenset({Permission.DESCRIBE, Permission.CALL, Permission.READ, Permission.OPERATE}),
    Role.ADMIN: frozenset(Permission),
}


def is_allowed(role: Role, permission: Permission) -> bool:
    return permission in PERMISSIONS_BY_ROLE[role]


__all__ = ["PERMISSIONS_BY_ROLE", "Permission", "Role", "is_allowed"]
