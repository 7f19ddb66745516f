"""Speed and memory of a batch: a prompt and a Python node over many rows, everything recorded.

Compared in the same run with a floor (a bare loop that renders, calls, dumps JSON and inserts into SQLite) and, with
`--peer`, with Microsoft's `promptflow` from PyPI in an environment of its own. Prints figures, judges nothing.

    python benchmarks/batch/measure.py [--rows 10000] [--memory-rows 100000] [--repeat 3] [--peer]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
FLOW = HERE / "flow"
PFL = [sys.executable, "-m", "promptflow_lite.cli.main"]
PEER_PACKAGES = ["promptflow==1.18.*", "promptflow-tools"]
PEER_ROWS = 1000

FLOOR = """
import json, sqlite3, sys, time
import jinja2
sys.path.insert(0, sys.argv[1])
rows = [json.loads(line) for line in open(sys.argv[2])]
template = jinja2.Environment().from_string(open(sys.argv[1] + "/prompt.jinja2").read())
database = sqlite3.connect(sys.argv[3])
database.execute("PRAGMA journal_mode = WAL")
database.execute("PRAGMA synchronous = NORMAL")
database.execute("CREATE TABLE lines (n INTEGER PRIMARY KEY, inputs TEXT, nodes TEXT, output TEXT, status TEXT)")
started = time.perf_counter()
pending = []
for n, row in enumerate(rows):
    a = time.time()
    prompt = template.render(**row)
    b = time.time()
    output = prompt.upper()
    c = time.time()
    nodes = [{"inputs": row, "output": prompt, "start": a, "end": b},
             {"inputs": {"prompt": prompt}, "output": output, "start": b, "end": c}]
    pending.append((n, json.dumps(row), json.dumps(nodes), json.dumps({"result": output}), "Completed"))
    if len(pending) == 500:
        database.executemany("INSERT INTO lines VALUES (?, ?, ?, ?, ?)", pending)
        database.commit()
        pending.clear()
database.executemany("INSERT INTO lines VALUES (?, ?, ?, ?, ?)", pending)
database.commit()
print(time.perf_counter() - started)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A finished child process."""

    stdout: str
    wall_s: float
    cpu_s: float
    peak_mb: float


def run(*command: str | Path, environment: dict[str, str] | None = None) -> Ended:
    """Run a command that must succeed, and measure it."""
    started = time.perf_counter()
    child = subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, env={**os.environ, **(environment or {})}, text=True
    )
    assert child.stdout is not None
    stdout = child.stdout.read()
    child.stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} ended with {child.returncode}:\n{stdout}")

    wall = time.perf_counter() - started
    return Ended(stdout, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def write_rows(path: Path, count: int) -> Path:
    with path.open("w") as stream:
        for number in range(count):
            stream.write(json.dumps({"text": f"What is the answer to question number {number}?"}) + "\n")
    return path


def ours(data: Path, home: Path) -> tuple[Ended, float]:
    """One batch through the command line; also the seconds that the run itself says it took."""
    shutil.rmtree(home, ignore_errors=True)
    create = [*PFL, "run", "create", "--flow", FLOW, "--data", data, "--name", "bench"]
    ended = run(*create, "--column-mapping", "text=${data.text}", environment={"PFL_HOME": str(home)})
    return ended, json.loads(ended.stdout)["properties"]["system_metrics"]["duration"]


def floor(data: Path, folder: Path) -> float:
    for old in folder.glob("floor.sqlite*"):
        old.unlink()
    return float(run(sys.executable, "-c", FLOOR, FLOW, data, folder / "floor.sqlite").stdout)


def peer(data: Path, folder: Path, environment_folder: Path) -> Ended:
    """The original over the same rows; its environment is made unless it is there."""
    python = environment_folder / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", environment_folder)
        run(python, "-m", "pip", "install", "--quiet", *PEER_PACKAGES)
    flow = shutil.copytree(FLOW, folder / "peer-flow")
    create = [python, "-m", "promptflow._cli._pf.entry", "run", "create", "--flow", flow, "--data", data]
    environment = {"PF_HOME_DIRECTORY": str(folder / "peer-home"), "PF_TRACING_SKIP_LOCAL_SETUP": "true"}
    return run(*create, "--column-mapping", "text=${data.text}", environment=environment)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    data = write_rows(folder / "rows.jsonl", options.rows)
    home = folder / "home"
    runs = [ours(data, home) for _ in range(options.repeat)]
    floors = [floor(data, folder) for _ in range(options.repeat)]
    memory, _ = ours(write_rows(folder / "many.jsonl", options.memory_rows), home)
    version = [run(*PFL, "--version").cpu_s for _ in range(options.repeat)]
    test_command = [*PFL, "flow", "test", "--flow", FLOW, "--inputs", "text=hello"]
    test = [run(*test_command, environment={"PFL_HOME": str(home)}).cpu_s for _ in range(options.repeat)]
    figures = {
        "rows": options.rows,
        "run_rows_per_s": options.rows / min(seconds for _, seconds in runs),
        "command_rows_per_s": options.rows / min(ended.wall_s for ended, _ in runs),
        "command_cpu_s": min(ended.cpu_s for ended, _ in runs),
        "floor_rows_per_s": options.rows / min(floors),
        "memory_rows": options.memory_rows,
        "peak_memory_mb": memory.peak_mb,
        "version_cpu_s": min(version),
        "flow_test_cpu_s": min(test),
    }
    figures["floor_over_run"] = figures["floor_rows_per_s"] / figures["run_rows_per_s"]
    if options.peer:
        few = write_rows(folder / "few.jsonl", PEER_ROWS)
        theirs = peer(few, folder, options.peer_environment or folder / "peer")
        same, _ = ours(few, home)
        figures["peer_rows_per_s"] = PEER_ROWS / theirs.wall_s
        figures["same_rows_per_s"] = PEER_ROWS / same.wall_s
        figures["peer_cpu_s"] = theirs.cpu_s
        figures["same_cpu_s"] = same.cpu_s
        figures["wall_ratio"] = theirs.wall_s / same.wall_s
        figures["cpu_ratio"] = theirs.cpu_s / same.cpu_s
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--memory-rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--peer", action="store_true", help="Also install and run promptflow from PyPI.")
    parser.add_argument("--peer-environment", type=Path, help="Where that is installed, to keep it.")
    parser.add_argument("--json", type=Path, help="Write the figures here, too.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pfl-bench-") as folder:
        figures = measure(options, Path(folder))
    for name, value in figures.items():
        print(f"{name:22} {value:,.2f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
