"""Models: what is here, whether it fits this machine, how fast it is; add, download, try and choose the default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st
from parts.colours import SERIES
from parts.frame import empty, title
from parts.state import show_error, shown_errors, tester, workspace
from parts.text import ago, duration, number

from promptflow_lite.sdk.studio import (
    Job,
    ModelCard,
    ModelEntry,
    PromptflowException,
    bench_rows,
    cancel_job,
    is_alive,
    machine,
    model_entries,
    model_jobs,
    start_bench,
    start_pull,
    trial_flow,
    use_as_default,
)

GIB, MIB = 2**30, 2**20
POLL_S = 0.3
BENCH_ROWS = [1, 2, 4, 8, 16]
FITS = {"fits": "✓ fits", "tight": "! tight", "too large": "✕ too large"}


# --- the list ---


def size(n_bytes: int | None) -> str:
    """`98 MiB`, `4.1 GiB`."""
    if n_bytes is None:
        return ""

    return f"{n_bytes / GIB:.1f} GiB" if n_bytes >= GIB else f"{n_bytes / MIB:.0f} MiB"


def parameters(count: int | None) -> str:
    """`135 M`, `7.2 B`."""
    if not count:
        return ""

    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.0f} M"


def row(entry: ModelEntry) -> dict[str, Any]:
    """A model as a row of the table."""
    card = entry.card or ModelCard(name=entry.name, source="")
    return {
        "Model": f"{entry.name} (default)" if entry.is_default else entry.name,
        "Architecture": card.architecture or "",
        "Parameters": parameters(card.parameters),
        "Quantisation": card.quantisation or "",
        "Context": card.context,
        "Licence": card.licence or "",
        "File": size(card.size_bytes),
        "This machine": FITS[card.fit] if card.fit else entry.state,
    }


def choose(entries: list[ModelEntry]) -> ModelEntry:
    """The table; the selected model, else the default one."""
    event = st.dataframe(
        pd.DataFrame([row(entry) for entry in entries]),
        key="models_table",
        hide_index=True,
        height="content",
        on_select="rerun",
        selection_mode="single-row",
        column_config={"Context": st.column_config.NumberColumn(format="localized")},
    )
    chosen = event.selection.rows
    if chosen and chosen[0] < len(entries):
        return entries[chosen[0]]

    return next((entry for entry in entries if entry.is_default), entries[0])


# --- getting models ---


@st.dialog("Add a model file")
def add_file() -> None:
    """Register a GGUF file where it lies."""
    path = st.text_input(
        "Path of a GGUF file on this machine", placeholder="/models/my-model.Q4_K_M.gguf", key="add_path"
    )
    name = st.text_input("Name", placeholder="the file's name", key="add_name")
    st.caption("The file stays where it is.")
    if st.button("Add", type="primary", disabled=not path, key="add_sure"):
        with shown_errors():
            workspace().client.models.add(path.strip(), name.strip() or None)
            st.rerun()


@st.dialog("Download a model")
def download() -> None:
    """Ask what to fetch from the hub; nothing leaves this machine before the button is pressed."""
    wanted = st.text_input(
        "Repository on Hugging Face", placeholder="bartowski/SmolLM2-360M-Instruct-GGUF", key="pull_wanted"
    )
    left, right = st.columns(2)
    file = left.text_input(
        "File", placeholder="*Q4_K_M.gguf", help="Name or pattern; the usual one without.", key="pull_file"
    )
    name = right.text_input("Name", placeholder="the file's name", key="pull_name")
    st.caption("This is the one page that uses the network, and only when you press the button. Downloads resume.")
    if st.button("Download", type="primary", icon=":material/download:", disabled=not wanted, key="pull_start"):
        start_pull(wanted.strip(), file=file.strip() or None, name=name.strip() or None)
        st.rerun()


def downloads() -> None:
    """Downloads on their way, and the one that ended last if it failed or was stopped."""
    jobs = model_jobs("pull")
    active = [job for job in jobs if is_alive(job)]
    shown = active or [job for job in jobs[:1] if job.id not in st.session_state.setdefault("pull_dismissed", set())]

    @st.fragment(run_every=1.0 if active else None)
    def progress() -> None:
        for job in model_jobs("pull"):
            if job.id in {item.id for item in shown}:
                download_state(job)
        if active and not any(is_alive(job) for job in model_jobs("pull")):
            st.rerun()

    if shown:
        progress()


def download_state(job: Job) -> None:
    """One download: how far it is, or how it ended."""
    done, total = job.progress.get("done"), job.progress.get("total")
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        if is_alive(job):
            text = (
                f"{job.names[0]} · {size(done)} of {size(total)}"
                if done and total
                else f"{job.names[0]} · asking the hub"
            )
            st.progress(min(done / total, 1.0) if done and total else 0.0, text)
            if st.button("Stop", icon=":material/stop:", key=f"pull_stop-{job.id}"):
                cancel_job(job)
            return

        if job.error:
            show_error(job.error)
        elif job.stopped:
            st.caption(f"The download of {job.names[0]} was stopped.")
        else:
            st.caption(
                f":green[:material/check:] {job.progress.get('name', job.names[0])} is here · {ago(job.started)}"
            )
        if job.error or job.stopped:
            if st.button("Try again" if job.error else "Go on", icon=":material/download:", key=f"pull_again-{job.id}"):
                start_pull(**job.request)
                st.rerun(scope="app")
        if st.button("Dismiss", type="tertiary", key=f"pull_dismiss-{job.id}"):
            st.session_state["pull_dismissed"].add(job.id)
            st.rerun(scope="app")


# --- one model ---


def actions(entry: ModelEntry) -> None:
    """What can be done with the chosen model."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"#### {entry.name}" + (" :green-badge[default]" if entry.is_default else ""))
        st.space("stretch")
        if entry.card and not entry.is_default:
            st.button(
                "Use as default", icon=":material/star:", key="model_default", on_click=make_default, args=(entry.name,)
            )
        if entry.card and st.button("Alias…", icon=":material/label:", key="model_alias"):
            alias(entry.name)
        if entry.is_added and st.button("Remove…", icon=":material/delete:", key="model_remove"):
            remove(entry)
    if note := st.session_state.pop("model_note", ""):
        st.info(note, icon=":material/info:")


def make_default(name: str) -> None:
    """Use a model where none is named; the test process starts anew so that it knows."""
    st.session_state["model_note"] = use_as_default(workspace().client, name)
    tester().cancel()


@st.dialog("Another name")
def alias(name: str) -> None:
    """Give a model a second name."""
    text = st.text_input(f"Another name for {name}", placeholder="judge", key="alias_name")
    st.caption("Flows can name the model by it, so that exchanging the model changes no flow.")
    if st.button("Add", type="primary", disabled=not text, key="alias_sure"):
        with shown_errors():
            workspace().client.models.alias(text.strip(), name)
            st.rerun()


@st.dialog("Remove a model")
def remove(entry: ModelEntry) -> None:
    """Ask before a model is forgotten."""
    is_ours = bool(entry.card and entry.card.source == "hub")
    st.markdown(f"Remove **{entry.name}** from the list?")
    keep = False
    if is_ours and entry.card:
        keep = st.toggle(f"Keep the downloaded file ({size(entry.card.size_bytes)})", key="remove_keep")
    else:
        st.caption("The file itself stays where it is.")
    if st.button("Remove", type="primary", key="remove_sure"):
        with shown_errors():
            workspace().client.models.remove(entry.name, keep_file=keep)
            st.rerun()


def card_tab(entry: ModelEntry) -> None:
    """Everything the file says about itself, and what runs said about the model."""
    with st.spinner("Reading the file…"):
        card = workspace().client.models.show(entry.name)
    facts = {
        "Architecture": f"{card.architecture or '?'} · {card.layers or '?'} layers of {card.embedding or '?'}",
        "Parameters": parameters(card.parameters),
        "Quantisation": card.quantisation,
        "Longest context": f"{card.context:,} tokens" if card.context else None,
        "Licence": card.licence,
        "Memory": f"needs {size(card.need_bytes)}, {size(card.have_bytes)} are free: {card.fit}",
        "Aliases": ", ".join(card.aliases),
        "From": " ".join(str(part) for part in (card.source, card.details.get("repository")) if part),
        "File": f"{size(card.size_bytes)} · {Path(card.path).name if card.source == 'bundled' else card.path}",
    }
    left, right = st.columns([3, 2], gap="large")
    with left:
        known = {name: str(value) for name, value in facts.items() if value}
        st.table(pd.Series(known), border="horizontal", hide_header=True)
        st.caption("SHA-256 of the file")
        st.code(card.sha256, language=None)
    with right:
        st.markdown("**Evaluations on this machine**")
        rows = [
            {"Evaluation": evaluation, "Metric": metric, "Value": number(value)}
            for evaluation, metrics in card.details.get("evaluations", {}).items()
            for metric, value in metrics.items()
            if isinstance(value, int | float)
        ]
        if rows:
            st.dataframe(pd.DataFrame(rows), hide_index=True, height="content" if len(rows) < 9 else 300)
        else:
            st.caption("None yet. Metrics of runs that this model answered appear here.")
        if card.template:
            with st.expander("Chat template"):
                st.code(card.template, language="jinja2", wrap_lines=True, height=240)


def speed_tab(entry: ModelEntry) -> None:
    """Measure how fast the model reads and writes when several rows go through it together."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        rows = st.multiselect("Rows together", BENCH_ROWS, default=[1, 4, 16], key="bench_rows", width=320)
        jobs = model_jobs("bench", entry.name)
        active = bool(jobs) and is_alive(jobs[0])
        if st.button("Measure", icon=":material/speed:", disabled=active or not rows, key="bench_start"):
            start_bench(entry.name, sorted(rows))
            st.rerun()
        if active and st.button("Stop", icon=":material/stop:", key="bench_stop"):
            cancel_job(jobs[0])
            st.rerun()
    if not jobs:
        st.caption("Prompts of 256 tokens are read and 16 tokens are generated; it takes some seconds a point.")
        return

    @st.fragment(run_every=1.0 if active else None)
    def result() -> None:
        job = model_jobs("bench", entry.name)[0]
        if job.error:
            show_error(job.error)
        measured = job.progress.get("measured") or []
        if measured:
            bench_chart(measured)
        if is_alive(job):
            st.caption(f":material/progress_activity: Measured {len(measured)} of {len(job.request['rows'])}…")
        else:
            st.caption(f"Measured {ago(job.started)}.")
        if active and not is_alive(job):
            st.rerun()

    result()


def bench_chart(measured: list[dict[str, Any]]) -> None:
    """Speed by rows together, as lines and as numbers."""
    frame = pd.DataFrame(bench_rows(measured))
    left, right = st.columns([3, 2], gap="medium")
    lines = alt.Chart(frame).mark_line(point=alt.OverlayMarkDef(size=70)).encode(
        x=alt.X("Rows together:O", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("Tokens a second:Q", scale=alt.Scale(zero=True)),
        color=alt.Color("What:N", title=None, scale=SERIES, legend=alt.Legend(orient="top")),
        tooltip=["What", "Rows together", "Tokens a second"],
    )  # fmt: skip
    left.altair_chart(lines.properties(height=240), width="stretch")
    table = frame.pivot_table(index="Rows together", columns="What", values="Tokens a second")
    right.dataframe(table, height="content")


def try_tab(entry: ModelEntry) -> None:
    """Ask the model something and watch it answer."""
    left, right = st.columns([4, 1])
    prompt = left.text_area("Prompt", "Name three colours.", height=122, key="model_prompt")
    tokens = right.number_input("Tokens at most", 1, 1024, 64, key="model_tokens")
    if right.button("Ask", type="primary", icon=":material/play_arrow:", key="model_ask", width="stretch"):
        folder = trial_flow(entry.name, max_tokens=int(tokens))
        st.session_state["model_job"] = (entry.name, tester().run(folder, {"question": prompt}, stream=True))

    asked, job = st.session_state.get("model_job", (None, None))
    if job is None or asked != entry.name:
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


def detail(entry: ModelEntry) -> None:
    """The chosen model."""
    with st.container(border=True):
        actions(entry)
        if entry.card is None:
            is_gone = entry.state == "file is gone"
            st.caption(
                f"Its file is gone: {entry.hint}" if is_gone else f"It is not installed. Get it with: `{entry.hint}`"
            )
            return

        card, speed, trial = st.tabs(["Card", "Speed", "Try it"], key="model_tabs", on_change="rerun")
        if card.open:
            with card:
                card_tab(entry)
        if speed.open:
            with speed:
                speed_tab(entry)
        if trial.open:
            with trial:
                try_tab(entry)


def page() -> None:
    """Draw the page."""
    facts = machine()
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        title(
            "Models",
            f"Local models that flows can use. This machine: {facts.cores_usable} cores, "
            f"{facts.memory_available_bytes / GIB:.1f} of {facts.memory_bytes / GIB:.1f} GiB memory free.",
        )
        with st.container(horizontal=True, width="content"):
            if st.button("Add a file", icon=":material/add:", key="model_add"):
                add_file()
            if st.button("Download", icon=":material/download:", key="model_download"):
                download()
    downloads()
    try:
        entries = model_entries(workspace().client)
    except PromptflowException as error:
        show_error(error)
        return

    if not entries:
        empty("No model is known.", "Install one with: pip install 'promptflow-lite[local]'")
        return

    with shown_errors():
        detail(choose(entries))


page()
