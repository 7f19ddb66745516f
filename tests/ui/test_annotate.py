"""Labelling in the studio: blind, by keys, and how far people agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptflow_lite.sdk.client import Client
from tests.support.studio import Studio, Watched, fill_store
from tests.ui.test_pages import open_page, texts

RUNS = ["variant_one", "variant_two"]


@pytest.fixture
def client(flow_folder: Path) -> Iterator[Client]:
    with Client() as opened:
        for name in RUNS:
            fill_store(opened, name, flow_folder, n_lines=3)
        yield opened


def label_all(client: Client, annotator: str, *values: str) -> None:
    tasks = client.labels.tasks(RUNS, annotator=annotator, name="quality")
    for task, value in zip(tasks, values, strict=False):
        client.labels.put(task, annotator=annotator, name="quality", value=value)


def test_nothing_beside_the_choice_of_runs_tells_which_run_an_output_is_from(client: Client) -> None:
    label_all(client, "ben", "good", "bad")

    at = open_page("annotate", run=",".join(RUNS))

    shown = (
        texts(at) + "".join(block.value for block in at.code) + "".join(table.value.to_csv() for table in at.dataframe)
    )
    assert "Message number" in shown
    assert not any(name in shown for name in RUNS)

    at.toggle(key="label_reveal").set_value(True).run()
    assert any(name in at.dataframe[0].value.to_csv() for name in RUNS)


def test_agreement_and_disagreements_are_shown(client: Client) -> None:
    label_all(client, "ana", "good", "bad", "good", "bad")
    label_all(client, "ben", "good", "bad", "good", "good")

    at = open_page("annotate", run=",".join(RUNS))

    metrics = {metric.label: metric.value for metric in at.metric}
    assert (metrics["Labels"], metrics["People"], metrics["Disagreements"]) == ("8", "2", "1")
    assert any("kappa" in name.lower() for name in metrics)
    at.toggle(key="label_disputed").set_value(True).run()
    assert sorted(at.dataframe[0].value["Label"]) == ["bad", "good"]


def test_one_person_alone_is_told_that_two_are_needed(client: Client) -> None:
    label_all(client, "ana", "good")

    assert "No output has labels of two annotators." in texts(open_page("annotate", run=",".join(RUNS)))


def test_a_skipped_output_comes_back_in_another_session(client: Client) -> None:
    at = open_page("annotate", run=RUNS[0])
    first = at.code[0].value

    at.button(key="label_skip").click().run()

    assert at.code[0].value != first
    assert open_page("annotate", run=RUNS[0]).code[0].value == first


@pytest.mark.browser
def test_digits_label_and_zero_skips(client: Client, studio: Studio, watched: Watched) -> None:
    page = watched.page
    page.goto(f"{studio.url}/annotate?run={RUNS[0]}")
    page.get_by_text("0 labelled, 3 to go").wait_for()
    page.locator("h2").first.click()

    page.keyboard.press("2")
    page.get_by_text("1 labelled, 2 to go").wait_for()
    watched.settle()
    page.keyboard.press("0")
    watched.settle()
    page.keyboard.press("1")
    page.get_by_text("2 labelled, 1 to go").wait_for()

    assert sorted(label.value for label in client.labels.list(RUNS)) == ["bad", "good"]
    assert watched.complaints == []
