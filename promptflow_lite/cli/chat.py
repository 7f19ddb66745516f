"""A chat with a flow in the terminal: `pfl flow test --interactive`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from promptflow_lite.cli import render
from promptflow_lite.errors import UserErrorException
from promptflow_lite.flow import ChatRoles, DagFlow, chat_roles, coerce_inputs
from promptflow_lite.records import LineResult
from promptflow_lite.runtime import finish_streams, streamed_outputs

if TYPE_CHECKING:
    from promptflow_lite.sdk.client import Client
    from promptflow_lite.sdk.flows import OpenFlow


def chat(
    client: Client,
    flow: str,
    *,
    inputs: Mapping[str, Any],
    variant: str | None,
    environment: Mapping[str, str],
    init: Any,
) -> int:
    """Ask for messages and print the flow's answers until Ctrl-C or the end of the input; returns the exit code.

    Raises:
        UserErrorException: the flow is not a chat flow.
    """
    with client.flows.open(
        flow, variant=variant, environment_variables=environment, init=init, show_prints=False
    ) as opened:
        roles = chat_roles(opened.flow)
        _check(roles, opened)
        _banner(opened.flow.name)
        history = _given_history(opened, str(roles.history), inputs)
        while (message := _ask()) is not None:
            given = {**inputs, str(roles.input): message, str(roles.history): history}
            line = opened.test(given, allow_stream=True).line
            answer = _show(line, roles)
            if answer is not None:
                history = [*history, *_turn(opened, roles, message, line)]
    render.text("Terminate the chat.")
    return 0


def _check(roles: ChatRoles, opened: OpenFlow) -> None:
    if roles.is_chat:
        return

    if roles.history is None:
        reason = "chat_history is required in the inputs of chat flow"
    elif roles.input is None:
        reason = "chat flow needs exactly one chat input"
    else:
        reason = "chat output is not configured"
    raise UserErrorException(
        f"Only support chat flow in interactive mode, {reason}.",
        hint="Mark one input with is_chat_input: true, one output with is_chat_output: true, and add a chat_history.",
        flow=opened.flow.name,
    )


def _given_history(opened: OpenFlow, name: str, inputs: Mapping[str, Any]) -> list[Any]:
    """The history that the chat goes on from; on the command line it is JSON."""
    if name not in inputs:
        return []

    return list(coerce_inputs({name: opened.executor.input_specs[name]}, inputs)[name])


def _banner(name: str) -> None:
    width = 40
    render.text("=" * width)
    render.text(f"Welcome to chat flow, {name}.")
    render.text("Press Enter to send your message.")
    render.text("You can quit with ctrl+C.")
    render.text("=" * width)


def _ask() -> str | None:
    """The next message that is not blank; None when the chat is over."""
    while True:
        try:
            message = render.ask("User: ")
        except (EOFError, KeyboardInterrupt):
            render.text()
            return None

        if message.strip():
            return message


def _show(line: LineResult, roles: ChatRoles) -> str | None:
    """Print an answer piece by piece; None when the flow failed."""
    if line.error is not None:
        render.note(f"The flow failed: {line.error['message']}")
        return None

    render.text("Bot: ", end="", flush=True)
    output_name = roles.output or next(iter(line.output or {}), "")
    streams = dict(streamed_outputs(line))
    if output_name in streams:
        for piece in streams[output_name]:
            render.text(str(piece), end="", flush=True)
        finish_streams(line)
        render.text()
    else:
        render.text(str((line.output or {}).get(output_name, "")))
    return str((line.output or {}).get(output_name, ""))


def _turn(opened: OpenFlow, roles: ChatRoles, message: str, line: LineResult) -> list[dict[str, Any]]:
    """What one exchange adds to the history, in the flow kind's own form."""
    output = dict(line.output or {})
    if isinstance(opened.flow, DagFlow):
        return [{"inputs": {str(roles.input): message}, "outputs": output}]

    answer = output.get(roles.output or "output", next(iter(output.values()), ""))
    return [{"role": "user", "content": message}, {"role": "assistant", "content": answer}]
