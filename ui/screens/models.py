"""Models: what is here, whether it fits this machine, and a box to try one."""

from __future__ import annotations

import streamlit as st
from parts.frame import empty, title
from parts.state import show_error, shown_errors, tester
from parts.text import duration

from promptflow_lite.sdk.studio import ModelCard, memory_bytes, model_cards, trial_flow

GIB = 2**30
POLL_S = 0.3


def card(model: ModelCard) -> None:
    """One model of the catalogue."""
    with st.container(border=True, height=150, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{model.name}**")
            if model.size_bytes is None:
                st.badge("not installed", color="gray")
            elif model.is_default:
                st.badge("default", color="green")
        size = f"{model.size_bytes / 2**20:,.0f} MiB" if model.size_bytes else model.install
        st.caption(f"{model.source} · licence {model.licence}")
        st.caption(size)
        if model.fits is not None:
            icon = ":green[:material/check:]" if model.fits else ":red[:material/close:]"
            st.caption(f"{icon} {'fits' if model.fits else 'does not fit'} the memory of this machine")


def try_box(models: list[ModelCard]) -> None:
    """Ask a model something."""
    installed = [model.name for model in models if model.size_bytes]
    if not installed:
        return

    st.markdown("#### Try it")
    left, right = st.columns([3, 1])
    prompt = left.text_area("Prompt", "Name three colours.", height=122, key="model_prompt")
    model = right.selectbox("Model", installed, key="model_choice")
    tokens = right.number_input("Tokens at most", 1, 1024, 64, key="model_tokens")
    if st.button("Ask", type="primary", icon=":material/play_arrow:", key="model_ask"):
        folder = trial_flow(model, max_tokens=int(tokens))
        st.session_state["model_job"] = tester().run(folder, {"prompt": prompt}, stream=True)

    job = st.session_state.get("model_job")
    if job is None:
        return

    @st.fragment(run_every=None if job.is_done else POLL_S)
    def answer() -> None:
        result = job.result or {}
        if result.get("error"):
            show_error(result["error"])
            return

        text = (result.get("output") or {}).get("answer") if job.is_done else job.text.get("answer", "")
        st.code(text or " ", language=None, wrap_lines=True)
        for node in result.get("nodes") or []:
            seconds = node["ms"] / 1000
            speed = f" · {node['tokens'] / seconds:,.0f} tokens a second, prompt included" if seconds else ""
            st.caption(f"{duration(seconds)} · {node['tokens']} tokens{speed}")

    answer()


def page() -> None:
    """Draw the page."""
    memory = memory_bytes()
    title(
        "Models",
        f"Local models that flows can use. This machine has {memory / GIB:.1f} GiB of memory." if memory else "",
    )
    with shown_errors():
        models = model_cards()
        if not models:
            empty("No model is known.", "Install one with: pip install 'promptflow-lite[local]'")
            return

        for start in range(0, len(models), 3):
            for column, model in zip(st.columns(3), models[start : start + 3], strict=False):
                with column:
                    card(model)
        try_box(models)


page()
