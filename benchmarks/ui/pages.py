"""How long each page of the studio takes to open over a run of 100,000 lines, measured in the server.

    python benchmarks/ui/pages.py

Every page is opened twice in a fresh session; the first time includes importing what the page needs. The target is one
second for a page that is opened a second time.
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
        print(f"{'page':<14}{'first':>9}{'again':>9}")
        slow = [name for name in pages() if not measure(name)]
    finally:
        shutil.rmtree(folder)
    print(f"slower than {TARGET_S:g} s: {', '.join(slow) or 'none'}")


def fill(flow: Path) -> None:
    """Record two runs of 100,000 lines, and an evaluation of each."""
    from promptflow_lite.sdk.client import Client
    from tests.support.studio import fill_store

    begin = time.perf_counter()
    with Client() as client:
        for name in ("huge", "other"):
            fill_store(client, name, flow, n_lines=N_LINES)
        fill_store(client, "judged", flow, n_lines=N_LINES, base="huge", metrics={"accuracy": 0.5})
    print(f"recorded 3 x {N_LINES:,} lines in {time.perf_counter() - begin:.0f} s")


def pages() -> list[str]:
    """The pages; comparing 100,000 rows is a computation rather than a page to open."""
    names = sorted(path.stem for path in (ROOT / "ui" / "screens").glob("*.py"))
    return [name for name in names if name != "compare"]


def measure(name: str) -> bool:
    """Open a page twice; whether the second time meets the target."""
    seconds = [opened(name) for _ in range(2)]
    print(f"{name:<14}{seconds[0]:>7.2f} s{seconds[1]:>7.2f} s")
    return seconds[1] <= TARGET_S


def opened(name: str) -> float:
    """Seconds that the server takes for one page in a fresh session."""
    from streamlit.testing.v1 import AppTest

    at = AppTest.from_file(str(ROOT / "ui" / "app.py"), default_timeout=60)
    for key, value in {"flow": "tickets", "run": "huge"}.items():
        at.query_params[key] = value
    at.run()
    begin = time.perf_counter()
    at.switch_page(f"screens/{name}.py").run()
    seconds = time.perf_counter() - begin
    if at.exception:
        raise RuntimeError(f"{name}: {at.exception[0].value}")

    return seconds


if __name__ == "__main__":
    main()
