"""Annotate: label outputs without knowing which variant made them; see how far people agree."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st
from parts.frame import empty, title
from parts.inspect import show_value
from parts.state import shown_errors, workspace

from promptflow_lite.sdk.studio import PromptflowException, RunFilter, label_queue, run_title, shown_value

MAX_OFFERED = 200
SCALES = {"good or bad": ["good", "bad"], "1 to 5": ["1", "2", "3", "4", "5"], "yes or no": ["yes", "no"]}


def choices() -> tuple[list[str], str, str, list[str]]:
    """Runs, annotator, question and scale."""
    found, _ = workspace().client.store.runs.page(RunFilter(is_evaluation=False), limit=MAX_OFFERED)
    known = {run.name: run_title(run) for run in found}
    asked = [name for name in st.query_params.get("run", "").split(",") if name in known]
    left, middle, right, last = st.columns([4, 2, 2, 2], vertical_alignment="bottom")
    runs = left.multiselect(
        "Runs, mixed and unnamed",
        list(known),
        default=asked,
        format_func=lambda name: known[name],
        key="label_runs",
        placeholder="Choose runs",
    )
    if runs:
        st.query_params["run"] = ",".join(runs)
    annotator = middle.text_input("Who labels", st.session_state.get("annotator", "me"), key="label_annotator")
    question = right.text_input("What is asked", "quality", key="label_question")
    scale = last.selectbox("Scale", list(SCALES), key="label_scale")
    st.session_state["annotator"] = annotator
    return runs, annotator, question, SCALES[scale]


def task_view(task: Any) -> None:
    """What is to be judged; nothing tells where it comes from."""
    with st.container(border=True):
        left, right = st.columns(2)
        inputs = {name: value for name, value in task.inputs.items() if name != "line_number"}
        with left:
            for name, value in inputs.items():
                show_value(name, value)
        with right:
            for name, value in task.output.items():
                st.caption(name)
                st.markdown(shown_value(value)[0])


def buttons(task: Any, annotator: str, question: str, scale: list[str]) -> None:
    """One button for each label; its digit is the shortcut."""
    comment = st.text_input("Comment", key=f"label_comment-{task.run}-{task.line}", placeholder="optional")

    def put(value: str) -> None:
        workspace().client.labels.put(task, annotator=annotator, name=question, value=value, comment=comment)

    with st.container(horizontal=True):
        for number, value in enumerate(scale, start=1):
            st.button(
                value,
                key=f"label-{value}",
                on_click=put,
                args=(value,),
                shortcut=str(number),
                type="primary",
                width=110,
            )
        st.button("Skip", key="label_skip", on_click=skip, args=(task,), shortcut="0", width=110)


def skip(task: Any) -> None:
    """Leave a task for later."""
    st.session_state.setdefault("label_skipped", set()).add((task.run, task.line))


def agreement(runs: list[str], question: str) -> None:
    """How far those who labelled the same outputs agree, and what was said."""
    client = workspace().client
    labels = client.labels.list(runs or None, name=question)
    if not labels:
        return

    disputed = client.labels.disagreements(runs or None, name=question)
    st.markdown("#### Labels so far")
    with st.container(border=True, horizontal=True, gap="large", vertical_alignment="center"):
        st.metric("Labels", f"{len(labels):,}", width="content")
        st.metric("People", len({label.annotator for label in labels}), width="content")
        try:
            found = client.labels.agreement(runs or None, name=question)
            st.metric(f"Agreement ({found.coefficient})", f"{found.value:.2f}", width="content")
            st.metric("Disagreements", f"{len(disputed):,}", width="content")
        except PromptflowException as error:
            st.caption(f"{error} {error.hint or ''}")
    labels_table(labels, {(item["run"], item["line"]) for item in disputed})


def labels_table(labels: list[Any], disputed: set[tuple[str, int]]) -> None:
    """What was said; where it comes from only on request, since knowing it would end being blind."""
    with st.container(horizontal=True, vertical_alignment="center"):
        only_disputed = st.toggle("Only disagreements", key="label_disputed", disabled=not disputed)
        is_open = st.toggle("Show the runs", key="label_reveal", help="You are no longer blind after that.")
    rows = [
        {"Run": item.run, "Line": item.line, "Who": item.annotator, "Label": item.value, "Comment": item.comment}
        for item in labels
        if not only_disputed or (item.run, item.line) in disputed
    ]
    frame = pd.DataFrame(rows)
    shown = frame if is_open else frame.drop(columns="Run")
    st.dataframe(shown, hide_index=True, height=min(38 + 35 * len(rows), 260))
    data = frame.to_csv(index=False)
    st.download_button("Download", data, "labels.csv", "text/csv", icon=":material/download:", key="label_download")


def page() -> None:
    """Draw the page."""
    title("Annotate", "Label outputs by hand. Runs are mixed, so nothing tells which variant an output is from.")
    with shown_errors():
        runs, annotator, question, scale = choices()
        if not runs or not annotator or not question:
            empty(
                "Choose the runs whose outputs you want to label.",
                "Several runs at once keep you blind to the variant.",
            )
            return

        skipped = st.session_state.get("label_skipped", set())
        queue = label_queue(workspace().client, runs, annotator=annotator, question=question, skipped=skipped)
        total = queue.n_done + queue.n_waiting
        st.progress(queue.n_done / max(total, 1), f"{queue.n_done:,} labelled, {queue.n_waiting:,} to go")
        if queue.task:
            task_view(queue.task)
            buttons(queue.task, annotator, question, scale)
        else:
            empty("Everything is labelled.", "Choose more runs, or look at the agreement below.")
        agreement(runs, question)


page()
