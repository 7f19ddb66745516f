"""Chat: talk to a chat flow; look at each turn's trace, switch variants, keep a conversation as test rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st
from parts.components import waterfall
from parts.frame import empty, title
from parts.inspect import show_span
from parts.state import author_state, show_error, tester, workspace
from parts.text import duration

from promptflow_lite.sdk.studio import (
    ChatShape,
    FlowCard,
    PromptflowException,
    TestJob,
    chat_message,
    chat_shape,
    history,
    message_parts,
    save_conversation,
    shown_value,
    trace_rows,
)

POLL_S = 0.05
DEFAULT = "default"
IMAGE_TYPES = ["png", "jpg", "jpeg", "gif", "webp"]


@dataclass(slots=True)
class Turn:
    """One question and what the flow answered."""

    question: Any
    result: dict[str, Any]
    variant: str | None


@dataclass(slots=True)
class Conversation:
    """The turns with one flow."""

    turns: list[Turn] = field(default_factory=list)

    def answered(self, shape: ChatShape) -> list[tuple[Any, Any]]:
        """Questions and answers of the turns that did not fail."""
        return [
            (turn.question, (turn.result.get("output") or {}).get(shape.answer))
            for turn in self.turns
            if not turn.result.get("error")
        ]


def choose_flow() -> tuple[FlowCard, ChatShape] | None:
    """A chat flow of the workspace."""
    found = [(card, shape) for card in workspace().flows() if card.is_editable and (shape := chat_shape(card.path))]
    if not found:
        return None

    paths = [workspace().relative(card.path) for card, _ in found]
    asked = st.query_params.get("flow") or st.session_state.get("last_flow")
    index = paths.index(asked) if asked in paths else 0
    chosen = st.selectbox("Flow", paths, index=index, key="chat_flow", width=280)
    st.query_params["flow"] = chosen
    return found[paths.index(chosen)]


def choose_variant(card: FlowCard) -> str | None:
    """The variant that answers the next turns."""
    options = [f"${{{node}.{variant}}}" for node, names in card.variants.items() for variant in names]
    if not options:
        return None

    chosen = st.selectbox(
        "Variant",
        [DEFAULT, *options],
        format_func=lambda text: text.strip("${}"),
        key=f"chat_variant-{card.name}",
        width=220,
    )
    return None if chosen == DEFAULT else chosen


def pieces(job: TestJob, output: str) -> Iterator[str]:
    """The answer as it comes."""
    sent = 0
    while True:
        is_done = job.is_done
        text = job.text.get(output, "")
        if len(text) > sent:
            yield text[sent:]
            sent = len(text)
        if is_done:
            break

        time.sleep(POLL_S)
    if not sent and job.result and not job.result.get("error"):
        yield shown_value((job.result.get("output") or {}).get(output))[0]


def ask(card: FlowCard, shape: ChatShape, conversation: Conversation, question: Any, variant: str | None) -> None:
    """Send a question and show the answer while it comes."""
    state = author_state(card.path)
    inputs = {**state.inputs, shape.question: question}
    if shape.history:
        inputs[shape.history] = history(shape, conversation.answered(shape))
    show_message("user", shape, question, card.path)
    with st.chat_message("assistant"):
        job = tester().run(card.path, inputs, variant=variant, stream=True)
        try:
            st.write_stream(pieces(job, shape.answer))
        finally:
            # Stopping ends this script here; nothing of the session may be touched any more.
            if not job.is_done:
                tester().cancel()
            conversation.turns.append(Turn(question, job.result or {}, variant))


def show_message(who: str, shape: ChatShape, message: Any, folder: Path) -> None:
    """What somebody said, images included."""
    with st.chat_message(who):
        for part in message_parts(shape, message, folder):
            if isinstance(part, bytes):
                st.image(part, width=260)
            else:
                st.markdown(part)


def show_turn(number: int, turn: Turn, shape: ChatShape, folder: Path) -> None:
    """A turn of the past with a way to its trace."""
    show_message("user", shape, turn.question, folder)
    if turn.result.get("error"):
        with st.chat_message("assistant"):
            show_error(turn.result["error"])
    else:
        show_message("assistant", shape, (turn.result.get("output") or {}).get(shape.answer), folder)
    if turn.result.get("nodes"):
        trace = trace_rows(turn.result, f"turn {number + 1}")
        tokens = sum(node["tokens"] for node in turn.result["nodes"])
        variant = (turn.variant or DEFAULT).strip("${}")
        label = f"{duration(trace['total_ms'] / 1000)} · {tokens} tokens · {variant}"
        with st.expander(label, key=f"turn-{number}", on_change="rerun") as opened:
            if opened.open:
                show_span(trace["details"][waterfall(trace, key=f"chat-trace-{number}")], key=f"turn-{number}")


def question_of(submitted: Any, shape: ChatShape) -> Any:
    """The value of the chat input: a text, or text and images in the flow's format."""
    if isinstance(submitted, str):
        return chat_message(shape, submitted)

    return chat_message(shape, submitted.text, [file.getvalue() for file in submitted.files])


def page() -> None:
    """Draw the page."""
    title("Chat", "Talk to a chat flow. It runs as in a test: nothing is recorded unless you save it.")
    try:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = choose_flow()
            if chosen is None:
                return no_flow()

            card, shape = chosen
            variant = choose_variant(card)
            conversation: Conversation = st.session_state.setdefault(f"chat-{card.path}", Conversation())
            if st.button(
                "New conversation", icon=":material/refresh:", disabled=not conversation.turns, key="chat_new"
            ):
                conversation.turns.clear()
                st.rerun()
            if st.button("Save as rows", icon=":material/save:", disabled=not conversation.turns, key="chat_save"):
                file = save_conversation(shape, conversation.answered(shape), card.path)
                st.toast(f"Saved to {file.name}. It can be chosen on the Batch page.")
        talk(card, shape, conversation, variant)
    except PromptflowException as error:
        show_error(error)


def no_flow() -> None:
    """Say how to get a chat flow."""
    empty("There is no chat flow in this workspace.", "Make one from the template “Chat” on the Home page.")


def talk(card: FlowCard, shape: ChatShape, conversation: Conversation, variant: str | None) -> None:
    """The conversation and the box for the next question."""
    with st.container(height=420, border=True, autoscroll=True):
        if not conversation.turns:
            st.caption("Say something below.")
        for number, turn in enumerate(conversation.turns):
            show_turn(number, turn, shape, card.path)
        slot = st.container()
    submitted = st.chat_input(
        "Message",
        accept_file="multiple" if shape.takes_list else False,
        file_type=IMAGE_TYPES if shape.takes_list else None,
        submit_mode="stop",
        key=f"chat_input-{card.name}",
    )
    if submitted:
        with slot:
            ask(card, shape, conversation, question_of(submitted, shape), variant)
        st.rerun()


page()
