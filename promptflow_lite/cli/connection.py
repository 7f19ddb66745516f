"""`pfl connection`: keep endpoints and their keys."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import add_yes, parse_pairs
from promptflow_lite.errors import UsageError

if TYPE_CHECKING:
    from promptflow_lite.connections import Connection
    from promptflow_lite.sdk.connections import ConnectionOperations

_COLUMNS = {
    "name": lambda item: item["name"],
    "type": lambda item: item["type"],
    "created": lambda item: item["created_date"],
    "modified": lambda item: item["last_modified_date"],
}


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser("connection", help="Keep endpoints and their keys").add_subparsers(metavar="<verb>")

    create = verbs.add_parser(
        "create",
        help="Store a connection from a yaml or .env file",
        description="Store a connection. Secrets are encrypted with a key file in PFL_HOME and are never printed.",
        epilog="Example: pfl connection create -f open_ai.yaml --set api_key='${env:OPENAI_API_KEY}' --name mine",
    )
    create.add_argument(
        "-f", "--file", required=True, help="A yaml description, or an .env file (then --name is needed)."
    )
    create.add_argument("-n", "--name", help="Name; wins over the one in the file.")
    create.add_argument("--set", nargs="+", metavar="KEY=VALUE", help="Set keys, such as api_base=… or secrets.key=….")
    create.set_defaults(handler=_create)

    update = verbs.add_parser("update", help="Change keys of a stored connection")
    update.add_argument("-n", "--name", required=True)
    update.add_argument("--set", nargs="+", metavar="KEY=VALUE", required=True)
    update.set_defaults(handler=_update)

    show = verbs.add_parser("show", help="Print a connection, its secrets masked")
    show.add_argument("-n", "--name", required=True)
    show.set_defaults(handler=_show)

    listing = verbs.add_parser("list", help="Print all connections, their secrets masked")
    listing.add_argument("-r", "--max-results", type=int, default=50)
    listing.add_argument("--all-results", action="store_true")
    listing.add_argument("-o", "--output", choices=("json", "table"))
    listing.set_defaults(handler=_list)

    delete = verbs.add_parser("delete", help="Remove a connection")
    delete.add_argument("-n", "--name", required=True)
    add_yes(delete)
    delete.set_defaults(handler=_delete)

    rotate = verbs.add_parser("rotate-key", help="Encrypt all secrets with a new key")
    rotate.set_defaults(handler=_rotate_key)


def _operations() -> ConnectionOperations:
    from promptflow_lite.sdk.client import Client

    return Client().connections


def _create(args: Namespace) -> int:
    operations = _operations()
    connection = operations.load(args.file, name=args.name, overrides=dict(parse_pairs(args.set, "--set")))
    render.json(operations.create_or_update(_with_asked_secrets(connection, is_update=False), keep_secrets=False))
    return 0


def _update(args: Namespace) -> int:
    operations = _operations()
    connection = operations.get_stored(args.name)
    for dotted, value in parse_pairs(args.set, "--set").items():
        _assign(connection, dotted, value)
    render.json(operations.create_or_update(_with_asked_secrets(connection, is_update=True)))
    return 0


def _assign(connection: Connection, dotted: str, value: str) -> None:
    section, dot, key = dotted.partition(".")
    if dot and section == "secrets":
        connection.secrets[key] = value
    elif dot and section == "configs":
        connection.configs[key] = value
    elif dotted in (*connection.keys(), *connection.optional_keys):
        setattr(connection, dotted, value)
    else:
        raise UsageError(
            f"Connection {connection.name!r} has no key {dotted!r}.", hint=f"It has {', '.join(connection.keys())}."
        )


def _with_asked_secrets(connection: Connection, *, is_update: bool) -> Connection:
    from promptflow_lite.connections import secrets_to_ask

    for key in secrets_to_ask(connection, is_update=is_update):
        connection.secrets[key] = render.ask_secret(f"{key} of connection {connection.name!r}")
    return connection


def _show(args: Namespace) -> int:
    render.json(_operations().show(args.name))
    return 0


def _list(args: Namespace) -> int:
    found = _operations().list(None if args.all_results else args.max_results)
    render.records(found, _COLUMNS, output=args.output)
    return 0


def _delete(args: Namespace) -> int:
    operations = _operations()
    operations.show(args.name)
    if not args.yes and not render.confirm(f"Delete connection {args.name!r} irreversibly?"):
        render.note("Nothing was deleted.")
        return 1

    operations.delete(args.name)
    return 0


def _rotate_key(args: Namespace) -> int:
    render.note(f"{_operations().rotate_key()} connections have a new key.")
    return 0
