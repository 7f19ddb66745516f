"""`docs/compatibility.md`, generated: `python -m tests.compat.report` writes it, a test holds it to this."""

from __future__ import annotations

from pathlib import Path

from promptflow_lite.compat.table import TABLE, Entry
from tests.compat import test_conformance
from tests.compat.corpus import load_cases
from tests.compat.points import POINTS, VECTORS, shown_by
from tests.compat.variables import VARIABLES

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"

_HEAD = """\
# Compatibility with prompt flow

A prompt flow project runs here as it is: the same folder, the same commands with `pfl` (or `pf`), the same outputs and
the same requests on the wire. This page says what that rests on. It is generated from the tests: the points, vectors
and flows below are each shown by a test that runs in the suite, and the import table is the one the shim serves.

## Running existing code

Flows need nothing: `from promptflow.core import tool` and the like are served while a flow's code is loaded. A script
of your own says `import promptflow_lite.compat` before it imports `promptflow`, or is run as
`python -m promptflow_lite.compat script.py`. When a real `promptflow` is installed it is left alone, and its names are
served by it; tool packages that add modules below `promptflow.` live beside the shim.

## Where this differs on purpose

| the original | here |
|---|---|
| a prompty's front matter ends at the last `---` line | it ends at the first, so a body may contain `---` |
| flex signatures with `-> int`, `List[str]` or text annotations are refused | they are accepted |
| `init` values stay text | they get their declared type; JSON files keep their types |
| async flex entries fail with a raw error | with `ScriptExecutionError`, as others |
| `tool_calls` lists with brackets inside stay text | they are parsed |
| references into null raise a raw error | `InvalidReferenceProperty` |
| unknown keys of `flow.flex.yaml` crash | they are a warning |
| `${env:NAME}` in connections is resolved in serving only | everywhere, as are `<CONNECTION>_<KEY>` overrides |
| token counts are 0 unless tracing is on | they are always counted |
| a line that fails before its inputs are recorded leaves the run `Running` | the line is `Failed`, the run ends |
| a run is `Completed` even if every line failed | it is `Failed` when no line completed |
| a column that a row lacks is NaN (text `nan`) and makes whole numbers fractions | it is `None`, numbers stay |
| `run create` exits with 0 whatever happened | with 1 when the run or one of its lines failed |
| artifact files, one a line | in runs of at most 1,000 lines, or with `PFL_RUN_ARTIFACTS=all`; the store has all |
| `detail` of vision tools is ignored | it is sent |
| an LLM node without `api` is not found | it is a `chat` node |
| the `module` of a node is imported when the flow is loaded | it is not needed and not imported |
| `--interactive` fails when `--inputs` gives a chat history | the chat goes on from it |
| `show-details` shows a null as `(Failed)` | only outputs of lines that gave none |
| `NaN` and `Infinity` are written into JSON, which most readers refuse | `null` |
| `pf service`, `pf upgrade`, `pf run visualize` | an error that names what to use |
| messages | the classes and codes are the original's, the sentences are not |

"""


def render() -> str:
    """The document."""
    return "\n".join([_HEAD + _variables(), _points(), _vectors(), _corpus(), _imports()])


def _variables() -> str:
    lines = ["## Environment variables", "", "| variable | here |", "|---|---|"]
    lines += [f"| `{name}` | {effect} |" for name, effect in VARIABLES.items()]
    return "\n".join([*lines, ""])


def _points() -> str:
    lines = ["## The twenty subtle points", "", "| # | point | shown by |", "|---|---|---|"]
    lines += [f"| {number} | {text} | {_tests(number)} |" for number, text in POINTS.items()]
    return "\n".join([*lines, ""])


def _vectors() -> str:
    lines = ["## Exact vectors", "", "| group | shown by |", "|---|---|"]
    lines += [f"| {text} | {_tests(name)} |" for name, text in VECTORS.items()]
    return "\n".join([*lines, ""])


def _tests(key: int | str) -> str:
    return ", ".join(f"`{name.removeprefix('test_')}`" for name in shown_by[key])


def _corpus() -> str:
    counts: dict[tuple[str, str], int] = {}
    for case in load_cases():
        counts[case.folder, case.feature] = counts.get((case.folder, case.feature), 0) + 1
    lines = ["## Flows of the corpus", "", "| flow | feature | cases |", "|---|---|---|"]
    lines += [f"| `tests/corpus/{folder}` | {feature} | {n} |" for (folder, feature), n in counts.items()]
    return "\n".join([*lines, ""])


def _imports() -> str:
    text = {
        "works": "works",
        "deprecated": "works, with a deprecation warning",
        "cloud": "imports; raises when used: needs Azure",
        "internal": "imports; raises when used",
    }
    lines = ["## Names that can be imported", "", "| module | names | |", "|---|---|---|"]
    for module, names in sorted(TABLE.items()):
        for kind, shown in text.items():
            group = [name for name, entry in names.items() if entry.kind == kind]
            if group:
                lines.append(f"| `{module}` | {_names(group)} | {shown}{_notes(names, kind)} |")
    return "\n".join([*lines, ""])


def _names(names: list[str]) -> str:
    if len(names) > 30:
        return "all exception classes"

    return ", ".join(f"`{name}`" for name in names)


def _notes(names: dict[str, Entry], kind: str) -> str:
    notes = dict.fromkeys(entry.note for entry in names.values() if entry.kind == kind and entry.note)
    if kind == "deprecated":
        return ""

    return "".join(f". {note}" for note in notes)


def main() -> None:
    """Write the document."""
    assert test_conformance.__name__  # importing it registers what shows each point
    DOCUMENT.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
