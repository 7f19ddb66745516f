"""Data sets: versions by content, samples, splits, differences, duplicates and leaks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptflow_lite.cli.main import main
from promptflow_lite.errors import DataError
from promptflow_lite.evals import datasets
from promptflow_lite.sdk.client import Client

ROWS = [{"text": f"review {i}", "label": "a" if i % 4 else "b", "doc": i // 5} for i in range(100)]


def test_the_version_is_the_content() -> None:
    assert datasets.version_of(ROWS) == datasets.version_of([dict(reversed(row.items())) for row in ROWS])
    assert datasets.version_of(ROWS) != datasets.version_of(ROWS[::-1])


def test_a_stratified_sample_keeps_the_shares() -> None:
    chosen = datasets.sample(ROWS, 20, by="label", seed=3)

    assert Counter(row["label"] for row in chosen) == {"a": 15, "b": 5}
    assert chosen == datasets.sample(ROWS, 20, by="label", seed=3)
    assert chosen != datasets.sample(ROWS, 20, by="label", seed=4)
    with pytest.raises(DataError):
        datasets.sample(ROWS, 101)


@given(seed=st.integers(0, 50), n=st.integers(10, 60))
def test_a_split_puts_every_row_into_one_part(seed: int, n: int) -> None:
    parts = datasets.split(ROWS[:n], {"train": 0.6, "test": 0.4}, seed=seed)

    texts = [row["text"] for part in parts.values() for row in part]
    assert sorted(texts) == sorted(row["text"] for row in ROWS[:n])
    assert abs(len(parts["train"]) - 0.6 * n) <= 1


def test_groups_stay_together() -> None:
    parts = datasets.split(ROWS, {"train": 0.5, "test": 0.5}, group="doc")

    assert {row["doc"] for row in parts["train"]} & {row["doc"] for row in parts["test"]} == set()


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(DataError, match="sum to 1"):
        datasets.split(ROWS, {"train": 0.6, "test": 0.6})


def test_differences_count_repeated_rows() -> None:
    found = datasets.diff([{"a": 1}, {"a": 1}, {"a": 2}], [{"a": 1}, {"a": 3}])

    assert (found.added, found.removed, found.n_same) == ([{"a": 3}], [{"a": 1}, {"a": 2}], 1)


def test_near_duplicates_and_leaks_are_found() -> None:
    texts = ["A gripping, lovely film!", "nothing alike", "a gripping lovely film", "A gripping lovely films"]

    assert [(m.left, m.right) for m in datasets.duplicates(texts)] == [(0, 2), (0, 3)]
    (leak,) = datasets.leaks(["Sentence: nothing alike."], ["other words", "Sentence: nothing alike"])
    assert (leak.right, leak.similarity) == (1, 1.0)


class TestKeeping:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "reviews.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        return path

    def test_versions_accumulate_and_equal_rows_make_none(self, file: Path) -> None:
        with Client() as client:
            first = client.datasets.import_file(file)
            again = client.datasets.import_file(file)
            second = client.datasets.add("reviews", ROWS[:50], source="by hand")

            assert first.version == again.version
            assert [item.version for item in client.datasets.versions("reviews")] == [first.version, second.version]
            assert len(client.datasets.rows("reviews")) == 50
            assert len(client.datasets.rows(f"reviews@{first.version[:6]}")) == 100
            assert client.datasets.path("reviews").is_file()

    def test_an_unknown_set_suggests_the_nearest(self, file: Path) -> None:
        with Client() as client:
            client.datasets.import_file(file)
            with pytest.raises(DataError) as caught:
                client.datasets.get("review")

        assert caught.value.hint == "Did you mean 'reviews'?"

    def test_failing_rows_of_a_run_become_a_test_set(self, file: Path, runs: Any) -> None:
        runs.add("base", [{"label": "x"}] * 3 + ["broke"], inputs=[{"text": f"t{i}"} for i in range(4)])
        runs.add("eval", [{"ok": True}, {"ok": False}, {"ok": True}], run="base", flow="match")
        with Client() as client:
            for name in ("base", "eval"):
                client.store.runs.create(runs.get(name))
                client.store.runs.add_lines(name, list(runs.iter_lines(name)))

            made = client.datasets.from_run("base", "hard", metric="ok")

            assert [row["source_line"] for row in client.datasets.rows("hard")] == [1, 3]
            assert made.source == "run base"

    def test_the_command_line(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["data", "import", str(file)]) == 0
        assert main(["data", "split", "reviews", "train=0.5", "test=0.5", "--by", "label"]) == 0
        assert main(["data", "sample", "reviews", "-k", "10", "--by", "label", "--to", "few"]) == 0
        capsys.readouterr()
        assert main(["data", "list", "-o", "json"]) == 0
        names = [item["name"] for item in json.loads(capsys.readouterr().out)]
        assert names == ["few", "reviews", "reviews-test", "reviews-train"]
        assert main(["data", "check", "reviews-test", "--column", "text", "--examples", "reviews-test"]) == 1
        assert main(["data", "diff", "reviews", "reviews"]) == 0
        assert main(["data", "split", "reviews", "train=x"]) == 2
