"""`pfl endpoint`: served flows, their deployments, their keys and what they answered."""

from __future__ import annotations

import argparse
import re
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.clock import iso_utc
from promptflow_lite._utils.text import truncate
from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import add_yes, parse_pairs
from promptflow_lite.errors import UsageError

if TYPE_CHECKING:
    from promptflow_lite.records import DeploymentSpec
    from promptflow_lite.sdk.endpoints import EndpointOperations

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_KEY_COLUMNS = {
    "id": lambda item: item["id"],
    "role": lambda item: item["role"],
    "name": lambda item: item["name"],
    "state": lambda item: item["state"],
    "expires": lambda item: iso_utc(item["expires_at"]),
    "rate/min": lambda item: item["rate_per_minute"],
    "quota/day": lambda item: item["quota_per_day"],
}
_LOG_COLUMNS = {
    "time": lambda item: iso_utc(item["start_time"]),
    "request": lambda item: item["request_id"],
    "deployment": lambda item: item["deployment"] + (" (shadow)" if item["is_shadow"] else ""),
    "status": lambda item: item["status_code"],
    "ms": lambda item: round(item["duration_ms"], 1),
    "tokens": lambda item: item["prompt_tokens"] + item["completion_tokens"],
    "inputs": lambda item: truncate(str(item["inputs"] or ""), 50),
    "output": lambda item: truncate(str(item["output"] or (item["error"] or {}).get("message", "")), 60),
}


def register(groups: Any) -> None:
    """Add the group to the command line."""
    verbs = groups.add_parser("endpoint", help="Served flows and their versions").add_subparsers(metavar="<verb>")
    _register_changes(verbs)
    _register_reading(verbs)
    _register_keys(verbs)


def _register_changes(verbs: Any) -> None:
    create = verbs.add_parser(
        "create",
        help="Make an endpoint with one or more deployments",
        epilog="Example: pfl endpoint create -n support --deployment v1=flows/a v2=flows/b --weight v1=1",
    )
    create.add_argument("-n", "--name", required=True)
    _add_shares(create, is_required=True)
    create.add_argument("--not-sticky", action="store_true", help="Place every request anew, also within a session.")
    create.set_defaults(handler=_create)

    update = verbs.add_parser("update", help="Change deployments and their shares of traffic, live")
    update.add_argument("-n", "--name", required=True)
    _add_shares(update, is_required=False)
    update.add_argument("--remove", nargs="+", default=[], metavar="DEPLOYMENT")
    update.add_argument(
        "--drain", nargs="+", default=[], metavar="DEPLOYMENT", help="Finish what it has, take no more."
    )
    update.add_argument("--undrain", nargs="+", default=[], metavar="DEPLOYMENT")
    update.set_defaults(handler=_update)

    back = verbs.add_parser("rollback", help="Return to an earlier version")
    back.add_argument("-n", "--name", required=True)
    back.add_argument("--version", type=int, help="Version to return to (default: the one before).")
    back.set_defaults(handler=_roll_back)

    delete = verbs.add_parser("delete", help="Forget an endpoint; recorded requests stay")
    delete.add_argument("-n", "--name", required=True)
    add_yes(delete)
    delete.set_defaults(handler=_delete)


def _add_shares(parser: argparse.ArgumentParser, *, is_required: bool) -> None:
    parser.add_argument(
        "--deployment",
        nargs="+",
        action="extend",
        required=is_required,
        metavar="NAME=FLOW[:VARIANT]",
        help="A deployment: a flow, and for one of its variants NODE.VARIANT behind a colon.",
    )
    parser.add_argument("--weight", nargs="+", action="extend", metavar="NAME=NUMBER", help="Shares of traffic.")
    parser.add_argument(
        "--mirror", nargs="+", action="extend", metavar="NAME=FRACTION", help="Shares of requests run unseen (0..1)."
    )
    parser.add_argument(
        "--price",
        nargs="+",
        action="extend",
        metavar="NAME=PROMPT,COMPLETION",
        help="Cost of a million prompt and completion tokens of a new deployment.",
    )


def _register_reading(verbs: Any) -> None:
    show = verbs.add_parser("show", help="Print an endpoint")
    show.add_argument("-n", "--name", required=True)
    show.add_argument("--versions", action="store_true", help="Print every version.")
    show.set_defaults(handler=_show)

    listing = verbs.add_parser("list", help="Print all endpoints")
    listing.add_argument("-o", "--output", choices=("json", "table"))
    listing.set_defaults(handler=_list)

    logs = verbs.add_parser("logs", help="Print recorded requests, newest first")
    logs.add_argument("-n", "--name", help="Endpoint (default: all).")
    logs.add_argument("--deployment")
    logs.add_argument("--failed", action="store_true", help="Only requests that failed.")
    logs.add_argument("-r", "--max-results", type=int, default=50)
    logs.add_argument("-o", "--output", choices=("json", "table"))
    logs.set_defaults(handler=_logs)


def _register_keys(verbs: Any) -> None:
    keys = verbs.add_parser("keys", help="API keys of all endpoints").add_subparsers(metavar="<verb>")
    create = keys.add_parser("create", help="Make a key and print it, this once")
    create.add_argument("--role", choices=("caller", "reader", "operator", "admin"), default="caller")
    create.add_argument("-n", "--name", default="", help="What the key is for.")
    create.add_argument("--expires-in", metavar="TIME", help="Lifetime: 90d, 12h, 30m.")
    create.add_argument("--rate", type=int, metavar="N", help="Requests a minute.")
    create.add_argument("--quota", type=int, metavar="N", help="Requests a day.")
    create.set_defaults(handler=_create_key)

    listing = keys.add_parser("list", help="Print all keys, without the keys themselves")
    listing.add_argument("-o", "--output", choices=("json", "table"))
    listing.set_defaults(handler=_list_keys)

    rotate = keys.add_parser("rotate", help="Replace a key by a new one")
    rotate.add_argument("id")
    rotate.add_argument("--grace", default="0s", metavar="TIME", help="How long the old key still works (0s).")
    rotate.set_defaults(handler=_rotate_key)

    revoke = keys.add_parser("revoke", help="End a key now")
    revoke.add_argument("id")
    revoke.set_defaults(handler=_revoke_key)


def _operations() -> EndpointOperations:
    from promptflow_lite.sdk.client import Client

    return Client().endpoints


# --- changes ----------------------------------------------------------------------------------------------------------


def _create(args: Namespace) -> int:
    deployments = _deployments(args)
    if len(deployments) == 1 and not args.weight:
        deployments = [_with_weight(deployments[0])]

    render.json(asdict(_operations().create(args.name, deployments, is_sticky=not args.not_sticky)))
    return 0


def _with_weight(deployment: DeploymentSpec) -> DeploymentSpec:
    from dataclasses import replace

    return replace(deployment, weight=1.0)


def _update(args: Namespace) -> int:
    spec = _operations().update(
        args.name,
        weights=_numbers(args.weight, "--weight"),
        mirrors=_numbers(args.mirror, "--mirror"),
        add=_deployments(args),
        remove=args.remove,
        drain=args.drain,
        undrain=args.undrain,
    )
    render.json(asdict(spec))
    return 0


def _deployments(args: Namespace) -> list[DeploymentSpec]:
    from promptflow_lite.records import DeploymentSpec

    weights, mirrors = _numbers(args.weight, "--weight"), _numbers(args.mirror, "--mirror")
    prices = parse_pairs(args.price, "--price")
    found = []
    for name, text in parse_pairs(args.deployment, "--deployment").items():
        flow, _, variant = text.partition(":")
        prompt_price, _, completion_price = prices.get(name, "0,0").partition(",")
        found.append(
            DeploymentSpec(
                name=name,
                flow=flow,
                variant=f"${{{variant}}}" if variant else None,
                weight=weights.get(name, 0.0),
                mirror_fraction=mirrors.get(name, 0.0),
                prompt_price=_number(prompt_price, "--price"),
                completion_price=_number(completion_price, "--price"),
            )
        )
    return found


def _numbers(items: list[str] | None, option: str) -> dict[str, float]:
    return {name: _number(value, option) for name, value in parse_pairs(items, option).items()}


def _number(text: str, option: str) -> float:
    try:
        return float(text or 0)
    except ValueError as error:
        raise UsageError(f"{option} needs numbers, not {text!r}.") from error


def _roll_back(args: Namespace) -> int:
    render.json(asdict(_operations().roll_back(args.name, version=args.version)))
    return 0


def _delete(args: Namespace) -> int:
    operations = _operations()
    operations.get(args.name)
    if not args.yes and not render.confirm(f"Delete endpoint {args.name!r}?"):
        render.note("Nothing was deleted.")
        return 1

    operations.delete(args.name)
    return 0


# --- reading ----------------------------------------------------------------------------------------------------------


def _show(args: Namespace) -> int:
    operations = _operations()
    if args.versions:
        render.json([asdict(spec) for spec in operations.versions(args.name)])
    else:
        render.json(asdict(operations.get(args.name)))
    return 0


def _list(args: Namespace) -> int:
    columns = {
        "name": lambda item: item["name"],
        "version": lambda item: item["version"],
        "deployments": lambda item: ", ".join(f"{d['name']} {d['weight']:g}" for d in item["deployments"]),
        "modified": lambda item: iso_utc(item["modified_at"]),
    }
    render.records([asdict(spec) for spec in _operations().list()], columns, output=args.output)
    return 0


def _logs(args: Namespace) -> int:
    found = _operations().logs(args.name, deployment=args.deployment, only_failed=args.failed, limit=args.max_results)
    render.records([asdict(record) for record in found], _LOG_COLUMNS, output=args.output)
    return 0


# --- keys -------------------------------------------------------------------------------------------------------------


def _create_key(args: Namespace) -> int:
    key, text = _operations().create_key(
        args.role,
        name=args.name,
        lifetime_s=parse_seconds(args.expires_in) if args.expires_in else None,
        rate_per_minute=args.rate,
        quota_per_day=args.quota,
    )
    render.note("This is the only time the key is shown.")
    render.json({"id": key.id, "role": key.role, "key": text, "expires": iso_utc(key.expires_at)})
    return 0


def _list_keys(args: Namespace) -> int:
    import time

    from promptflow_lite.serving.keys import is_active
    from promptflow_lite.serving.management import public_key

    now = time.time()
    shown = [{**public_key(key), "state": "active" if is_active(key, now) else "ended"} for key in _operations().keys()]
    render.records(shown, _KEY_COLUMNS, output=args.output)
    return 0


def _rotate_key(args: Namespace) -> int:
    key, text = _operations().rotate_key(args.id, grace_s=parse_seconds(args.grace))
    render.note("This is the only time the key is shown.")
    render.json({"id": key.id, "role": key.role, "key": text, "replaces": args.id})
    return 0


def _revoke_key(args: Namespace) -> int:
    _operations().revoke_key(args.id)
    render.note(f"Key {args.id} is revoked.")
    return 0


def parse_seconds(text: str) -> float:
    """`90d`, `12h`, `30m` or `10s` in seconds. Raises `UsageError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no length of time.", hint="Write a number and s, m, h or d, such as 90d.")

    return float(match.group(1)) * _UNITS[match.group(2)]
