"""Reports: numbers recomputed from the export, failure counts in every table, a page that asks for nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

from promptflow_lite.evals.compare import Candidate, compare
from promptflow_lite.evals.comparison import Comparison
from promptflow_lite.evals.reports import headline, render_csv, render_html, render_json, render_markdown, render_table
from promptflow_lite.evals.scores import collect_scores
from promptflow_lite.evals.stats import paired_test, wilson_interval


@pytest.fixture
def comparison(make_comparison: Any) -> Comparison:
    """Two variants of 200 rows; the second fails on five rows, and its evaluator crashes on three."""
    return make_comparison(200)


def test_numbers_recomputed_from_the_export_agree_with_the_report(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv(comparison))))

    pairs = [
        (float(row["first.ok"]), float(row["second | new.ok"]))
        for row in rows
        if row["second | new.state"] != "unscored"
    ]
    summary, pair = comparison.metrics[0].summaries[1], comparison.metrics[0].pairs[0]
    again = paired_test([a for a, _ in pairs], [b for _, b in pairs])
    assert summary.mean == pytest.approx(sum(b for _, b in pairs) / len(pairs))
    assert summary.interval == wilson_interval(int(sum(b for _, b in pairs)), len(pairs))
    assert pair.test == again
    assert len(rows) == 200


@pytest.mark.parametrize("render", [render_table, render_markdown, render_html])
def test_failure_counts_stand_in_every_report(comparison: Comparison, render: Any) -> None:
    text = " ".join(render(comparison).split())

    assert "5 failed" in text
    assert "3 unscored" in text
    assert "Rows that failed score worst" in text


def test_json_is_the_whole_comparison(comparison: Comparison) -> None:
    data = json.loads(render_json(comparison, has_rows=True))

    assert data["headline"] == headline(comparison)
    assert data["metrics"][0]["summaries"][1]["failed"] == 5
    assert data["settings"]["level"] == 0.95
    assert len(data["rows"]) == 200
    assert "rows" not in json.loads(render_json(comparison))


def test_markdown_escapes_the_bars_of_cells(comparison: Comparison) -> None:
    lines = render_markdown(comparison).splitlines()

    (row,) = [line for line in lines if line.startswith("| second")][:1]
    assert row.startswith("| second \\| new |")
    assert len(re.findall(r"(?<!\\)\|", row)) == 11


def test_the_headline_states_difference_interval_and_p(comparison: Comparison) -> None:
    sentence = headline(comparison)

    assert re.search(r"second \| new is better than first: \+\d+\.\d pp on ok \(95% interval .* p ", sentence)


class TestPage:
    def test_nothing_in_it_refers_to_the_network(self, comparison: Comparison) -> None:
        page = render_html(comparison)

        assert "default-src 'none'" in page
        assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:,)""", page)
        assert [url for url in re.findall(r"https?://[^\s\"'<]+", page) if "w3.org" not in url] == []

    def test_data_cannot_break_out_of_the_page(self, runs: Any) -> None:
        hostile = "</script><script>alert(1)</script> %%body%% <!-- "
        runs.add("a", [{"x": hostile, "ok": True}], inputs=[{"text": hostile}])

        page = render_html(compare([Candidate("a", [collect_scores(runs, "a")])], title=hostile))

        assert page.count("<script>") == 1
        assert "alert(1)</script>" not in page
        data = re.search(r'id="data">(.*?)</script>', page, re.S)
        assert data is not None
        assert json.loads(data.group(1))["rows"][0][1] == hostile

    def test_failed_rows_show_their_error(self, comparison: Comparison) -> None:
        data = re.search(r'id="data">(.*?)</script>', render_html(comparison), re.S)

        assert data is not None
        first = json.loads(data.group(1))["rows"][0]
        assert first[2][1] == "it broke"
        assert first[4][0][1] == "f"
