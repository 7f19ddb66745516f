"""`pfl ui`: the studio in a browser."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from promptflow_lite.cli import render
from promptflow_lite.errors import MissingExtraError, UsageError

DEFAULT_PORT = 8501
TOKEN_VARIABLE = "PFL_UI_TOKEN"  # noqa: S105 - the name of a variable

_LIGHT = {
    "primaryColor": "#4263eb",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f5f6f8",
    "textColor": "#1f2430",
    "borderColor": "#dfe2e8",
}
_DARK = {
    "primaryColor": "#748ffc",
    "backgroundColor": "#14161b",
    "secondaryBackgroundColor": "#1d2027",
    "textColor": "#e4e6eb",
    "borderColor": "#31353f",
}


def register(groups: Any) -> None:
    """Add the group to the command line."""
    parser = groups.add_parser(
        "ui",
        help="Open the studio in a browser",
        description="Open the studio on a folder of flows. It listens on this machine only and sends nothing anywhere.",
        epilog="Examples: pfl ui my_project    PFL_UI_TOKEN=$(openssl rand -hex 16) pfl ui --host 0.0.0.0",
    )
    parser.add_argument("folder", nargs="?", default=".", help="The workspace; default: the current folder.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"Default: {DEFAULT_PORT}.")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help=f"Address to listen on; any but loopback needs a token in the environment variable {TOKEN_VARIABLE}.",
    )
    parser.add_argument("--no-browser", action="store_true", help="Do not open a browser.")
    parser.set_defaults(handler=_serve)


def _serve(args: Namespace) -> NoReturn:
    from promptflow_lite.sdk.resources import bundled
    from promptflow_lite.serving.loopback import is_loopback
    from promptflow_lite.settings import env, environ, home

    if find_spec("streamlit") is None:
        raise MissingExtraError("The studio", "ui")

    workspace = Path(args.folder).absolute()
    if not workspace.is_dir():
        raise UsageError(f"{args.folder} is no folder.", hint="Name the folder that holds your flows.")

    token = env(TOKEN_VARIABLE)
    if not is_loopback(args.host) and not token:
        raise UsageError(
            f"The studio runs code, so it listens on {args.host} only with a token.",
            hint=f"Set {TOKEN_VARIABLE} to a long random text, and give it once as ?token=… in the browser.",
        )

    # Streamlit reads its own files from here rather than from a workspace that somebody else may have written.
    folder = home() / "studio"
    folder.mkdir(mode=0o700, exist_ok=True)
    script = bundled("ui") / "asgi.py"
    render.note(f"Studio for {workspace} on http://{args.host}:{args.port}")
    environment = {**environ(), "PFL_WORKSPACE": str(workspace), "PFL_HOME": str(home())}
    os.chdir(folder)
    command = [sys.executable, "-m", "promptflow_lite.cli.studio", "run", str(script)]
    command += server_flags(args.host, args.port)
    command.append(f"--server.headless={'true' if args.no_browser else 'false'}")
    sys.stderr.flush()
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter; signals reach it directly


def server_flags(host: str, port: int) -> list[str]:
    """Streamlit's options for a server that is private and quiet."""
    from promptflow_lite.serving.loopback import is_loopback

    allowed = ["127.0.0.1", "localhost"] if is_loopback(host) else []
    flags = {
        "server.address": host,
        "server.port": port,
        "browser.gatherUsageStats": "false",
        "server.showEmailPrompt": "false",
        "server.fileWatcherType": "none",
        "server.enableCORS": "true",
        "server.enableXsrfProtection": "true",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "type",
        "client.showErrorLinks": "false",
        "runner.magicEnabled": "false",
        "theme.baseFontSize": 14,
        "theme.baseRadius": "8px",
        "theme.showWidgetBorder": "true",
        **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
        **{f"theme.dark.{name}": value for name, value in _DARK.items()},
    }
    return [f"--{name}={value}" for name, value in flags.items()] + [
        f"--server.allowedHosts={name}" for name in allowed
    ]
