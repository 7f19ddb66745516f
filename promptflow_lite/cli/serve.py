"""`pfl serve`: a flow, or an endpoint with deployments, over HTTP; also `pfl flow serve` with the original's flags."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.jsonable import loads
from promptflow_lite.cli import render
from promptflow_lite.cli.arguments import parse_connections, parse_environment, parse_pairs
from promptflow_lite.errors import UsageError

if TYPE_CHECKING:
    from promptflow_lite.sdk.endpoints import ServeRequest
    from promptflow_lite.serving.server import ServerSettings
    from promptflow_lite.serving.tokens import TokenPolicy


def register(groups: Any) -> None:
    """Add the command to the command line."""
    serve = groups.add_parser(
        "serve",
        help="Serve a flow over HTTP",
        description="Serve a flow, or an endpoint that was made with `pfl endpoint create`, over HTTP.",
        epilog="Examples:\n"
        "  pfl serve my_flow --port 8080\n"
        "  pfl serve --endpoint support --auth keys --host 0.0.0.0 --certificate cert.pem --private-key key.pem",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument("flow", nargs="?", help="Folder or file of the flow (default: PROMPTFLOW_PROJECT_PATH, else .).")
    serve.add_argument(
        "--endpoint", help="Serve this stored endpoint with all its deployments, and follow its changes."
    )
    serve.add_argument("--name", help="Name under which requests of a flow are recorded (default: its folder's name).")
    _add_listening(serve)
    _add_access(serve)
    _add_limits(serve)
    _add_flow_options(serve)
    serve.set_defaults(handler=_serve)


def register_flow_serve(verbs: Any) -> None:
    """Add `pfl flow serve`, with the original's flags."""
    serve = verbs.add_parser("serve", help="Serve a flow over HTTP (see also: pfl serve)")
    serve.add_argument("--source", required=True, help="Folder of the flow.")
    serve.add_argument("--port", type=int, default=8080)
    serve.add_argument("--host", default="localhost")
    serve.add_argument(
        "--engine", choices=("flask", "fastapi"), default="fastapi", help="Accepted; there is one server."
    )
    serve.add_argument("--static_folder", "--static-folder", help=argparse.SUPPRESS)
    serve.add_argument("--skip-open-browser", action="store_true", help="Accepted; no browser is opened.")
    serve.add_argument("--config", nargs="+", metavar="KEY=VALUE", help="Accepted; connections come from the store.")
    _add_flow_options(serve)
    serve.set_defaults(handler=_flow_serve)


def _add_listening(parser: argparse.ArgumentParser) -> None:
    listening = parser.add_argument_group("listening")
    listening.add_argument("--host", default="127.0.0.1", help="Address to listen on (127.0.0.1).")
    listening.add_argument("--port", type=int, default=8080, help="Port to listen on (8080).")
    listening.add_argument("--certificate", metavar="FILE", help="TLS certificate chain, PEM.")
    listening.add_argument("--private-key", metavar="FILE", help="TLS private key, PEM.")
    listening.add_argument("--grace", type=float, default=30.0, metavar="S", help="Time to finish after SIGTERM (30).")


def _add_access(parser: argparse.ArgumentParser) -> None:
    access = parser.add_argument_group("access")
    access.add_argument(
        "--auth", choices=("none", "keys"), default="none", help="Who may call: anybody on this machine, or API keys."
    )
    access.add_argument("--jwks", metavar="FILE|URL", help="Also accept JWTs signed by these keys.")
    access.add_argument("--issuer", help="Issuer that those JWTs must name.")
    access.add_argument("--audience", help="Audience that those JWTs must name.")
    access.add_argument("--roles-claim", default="roles", help="Claim that holds the roles (roles).")
    access.add_argument(
        "--allow-origin", nargs="+", default=[], metavar="ORIGIN", help="Web pages that may call (none)."
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits and records")
    limits.add_argument("--max-body-mb", type=float, default=10.0, help="Largest request body (10).")
    limits.add_argument("--timeout", type=float, default=300.0, metavar="S", help="Longest time of a flow (300).")
    limits.add_argument("--threads", type=int, default=64, help="Requests that run at once (64).")
    limits.add_argument("--durable", action="store_true", help="Answer only after the request is committed.")
    limits.add_argument("--no-record", action="store_true", help="Record no requests.")
    limits.add_argument("--redact-inputs", action="store_true", help="Record that a request came, not what it said.")
    limits.add_argument("--never-inline", action="store_true", help="Run even the fastest flows on threads.")


def _add_flow_options(parser: argparse.ArgumentParser) -> None:
    flow = parser.add_argument_group("flow")
    flow.add_argument("--environment-variables", nargs="*", metavar="KEY=VALUE", help="Variables or .env files.")
    flow.add_argument("--connections", nargs="+", metavar="NODE.KEY=VALUE", help="Connections of nodes.")
    flow.add_argument("--init", nargs="+", metavar="KEY=VALUE", help="Constructor values of a flex flow.")


def _serve(args: Namespace) -> int:
    from promptflow_lite.sdk.endpoints import ServeRequest
    from promptflow_lite.serving.endpoint import ServingSettings
    from promptflow_lite.serving.server import ServerSettings

    if args.endpoint and args.flow:
        raise UsageError("Give a flow or --endpoint, not both.")

    request = ServeRequest(
        flow=args.flow,
        endpoint=args.endpoint,
        name=args.name,
        requires_key=args.auth == "keys" or bool(args.jwks),
        tokens=_token_policy(args),
        settings=ServingSettings(
            max_body_bytes=int(args.max_body_mb * 2**20),
            timeout_s=args.timeout,
            n_threads=args.threads,
            is_durable=args.durable,
            redact_inputs=args.redact_inputs,
            may_inline=not args.never_inline,
            allowed_origins=tuple(args.allow_origin),
        ),
        records=not args.no_record,
        **_flow_options(args),
    )
    server = ServerSettings(
        host=args.host,
        port=args.port,
        certificate=args.certificate,
        private_key=args.private_key,
        grace_s=args.grace,
    )
    return _run(request, server)


def _flow_serve(args: Namespace) -> int:
    from promptflow_lite.sdk.endpoints import ServeRequest
    from promptflow_lite.serving.server import ServerSettings

    request = ServeRequest(flow=args.source, **_flow_options(args))
    return _run(request, ServerSettings(host=args.host, port=args.port))


def _run(request: ServeRequest, server: ServerSettings) -> int:
    from promptflow_lite.sdk.client import Client

    scheme = "https" if server.certificate else "http"
    render.note(f"Serving {request.endpoint or request.flow or '.'} on {scheme}://{server.host}:{server.port}")
    with Client() as client:
        client.endpoints.serve(request, server)
    return 0


def _flow_options(args: Namespace) -> dict[str, Any]:
    init = {name: _json_or_text(value) for name, value in parse_pairs(args.init, "--init").items()}
    return {
        "environment_variables": parse_environment(args.environment_variables),
        "connection_overrides": parse_connections(args.connections) or None,
        "init": init or None,
    }


def _json_or_text(value: str) -> Any:
    try:
        return loads(value)
    except ValueError:
        return value


def _token_policy(args: Namespace) -> TokenPolicy | None:
    if not args.jwks:
        return None

    if not args.issuer or not args.audience:
        raise UsageError(
            "--jwks also needs --issuer and --audience.", hint="Tokens for other services must not work here."
        )

    from promptflow_lite.serving.tokens import TokenPolicy

    return TokenPolicy(jwks=args.jwks, issuer=args.issuer, audience=args.audience, roles_claim=args.roles_claim)
