"""How long each page of the studio takes to open over a huge store, measured in the server.

    python benchmarks/ui/pages.py

The store holds two runs of 100,000 lines, each with an evaluation of as many, and 5,000 small runs. Every page is
opened twice in a fresh session; the first time includes importing what the page needs. The target is one second for a
page that is opened a second time. The page that compares the two large runs opens at once and shows the comparison when
it is made, which is measured too, as are the slowest filters of the pages of runs and lines.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

N_LINES = 100_000
N_RUNS = 5_000
TARGET_S = 1.0


def main() -> None:
    """Fill a store, open the pages, print a table."""
    logging.disable(logging.WARNING)
    folder = Path(tempfile.mkdtemp(prefix="pfl-bench-"))
    os.environ["PFL_HOME"] = str(folder / "home")
    os.environ["PFL_WORKSPACE"] = str(folder)
    shutil.copytree(ROOT / "flows" / "classification", folder / "tickets")
    try:
        fill(folder / "tickets")
        measure_comparison()
        print(f"{'page':<14}{'first':>9}{'again':>9}")
        slow = [name for name in pages() if not measure(name)]
        print(f"slower than {TARGET_S:g} s: {', '.join(slow) or 'none'}")
        measure_filters()
    finally:
        shutil.rmtree(folder)


def fill(flow: Path) -> None:
    """Record two runs of 100,000 lines with an evaluation of each, and thousands of small runs."""
    from promptflow_lite.records import RunRecord, Status
    from promptflow_lite.sdk.client import Client
    from tests.support.studio import fill_store

    begin = time.perf_counter()
    with Client() as client:
        for number in range(N_RUNS):
            client.store.runs.create(
                RunRecord(
                    name=f"small{number}", flow=str(flow), flow_name=flow.name, status=Status.COMPLETED,
                    created_on=begin + number, total_lines=100, completed_lines=100, tags={"number": str(number)},
                )
            )  # fmt: skip
        for name in ("huge", "other"):
            fill_store(client, name, flow, n_lines=N_LINES)
            fill_store(client, f"{name}_judged", flow, n_lines=N_LINES, base=name, metrics={"accuracy": 0.5})
    print(f"recorded {N_RUNS:,} runs and 4 x {N_LINES:,} lines in {time.perf_counter() - begin:.0f} s")


def pages() -> list[str]:
    """The pages by name."""
    return sorted(path.stem for path in (ROOT / "ui" / "screens").glob("*.py"))


def measure(name: str) -> bool:
    """Open a page twice; whether the second time meets the target."""
    seconds = [opened(name) for _ in range(2)]
    print(f"{name:<14}{seconds[0]:>7.2f} s{seconds[1]:>7.2f} s")
    return seconds[1] <= TARGET_S


def opened(name: str) -> float:
    """Seconds that the server takes for one page in a fresh session."""
    from streamlit.testing.v1 import AppTest

    at = AppTest.from_file(str(ROOT / "ui" / "app.py"), default_timeout=60)
    for key, value in {"flow": "tickets", "run": "huge", "runs": "huge,other"}.items():
        at.query_params[key] = value
    at.run()
    begin = time.perf_counter()
    at.switch_page(f"screens/{name}.py").run()
    seconds = time.perf_counter() - begin
    if at.exception:
        raise RuntimeError(f"{name}: {at.exception[0].value}")

    return seconds


def measure_comparison() -> None:
    """How long the comparison behind the page takes."""
    from promptflow_lite.sdk.client import Client

    with Client() as client:
        begin = time.perf_counter()
        comparison = client.evaluations.compare(["huge", "other"])
        made = time.perf_counter() - begin
        comparison.changed_rows(comparison.metrics[0].name, "other")
        print(
            f"comparing 2 x {N_LINES:,} lines: {made:.1f} s; changed rows: {time.perf_counter() - begin - made:.1f} s"
        )


def measure_filters() -> None:
    """How long the last page and the slowest filters take."""
    from promptflow_lite.sdk.client import Client
    from promptflow_lite.sdk.studio import LineFilter, RunFilter, score_range

    with Client() as client:
        runs, lines = client.store.runs.page, client.runs.page
        questions = {
            "runs, last page by duration": lambda: runs(RunFilter(), offset=N_RUNS - 50, sort="-duration"),
            "runs, text that none has": lambda: runs(RunFilter(search="nowhere")),
            "lines, last page": lambda: lines("huge", limit=100, offset=N_LINES - 100),
            "lines, slowest first": lambda: lines("huge", limit=100, sort="-duration"),
            "lines, text that none has": lambda: lines("huge", LineFilter(search="nowhere"), limit=100),
            "lines, score at least 1": lambda: lines(
                "huge", LineFilter(score=score_range("huge_judged", "correct", 1, None)), limit=100
            ),
        }
        for name, ask in questions.items():
            begin = time.perf_counter()
            ask()
            print(f"{name:<30}{time.perf_counter() - begin:>7.2f} s")


if __name__ == "__main__":
    main()
