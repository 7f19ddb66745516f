"""The points of the contract that are easily done wrong, and which tests show each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., Any])

POINTS = {
    1: "YAML 1.2: `yes` is text, duplicate keys are errors",
    2: "Empty and null literals are dropped, so the tool's default applies; prompt nodes keep them",
    3: "Literals are coerced to the first declared type, references are not; flow inputs are; null as text is `None`",
    4: "References are whole values, `${flow.x}` is an alias, flow inputs have no properties, mapping columns are flat",
    5: "The default column mapping leaves out inputs with defaults",
    6: "CSV values are text, empty cells are empty; `line_number` columns number the lines",
    7: "A met `activate` runs the node whatever is bypassed; otherwise only node references count; plain `==`",
    8: "A bypassed dependency leaves a parameter with a default out, and gives None to one without",
    9: "Aggregation sees succeeded lines, runs in tests, fails nothing, gives no outputs",
    10: "A run is `Completed` though lines failed; their errors are in its records",
    11: "Streaming is decided by the caller, for nodes that an output and no node reads",
    12: "An LLM node gives text, or the message when tools or functions were offered",
    13: "A template may not use API parameters as variables; `n` only on Azure",
    14: "Role lines: one optional `#`, alone on the line; text before the first is an error; sub-headers",
    15: "Only values of flow inputs and prompt nodes are protected; Azure joins lists by lines",
    16: "A script is `__pf_main__`; imported tools do not count; exactly one of its own",
    17: "A variant replaces the whole node",
    18: "Prompty: unset `${env:}` stays, undeclared inputs are dropped, JSON is cut to outputs, text is protected",
    19: "Flex: typed inputs, resolved init, plain values, `__aggregate__` errors only cost metrics",
    20: "Serving: connection overrides, variables, hidden outputs, connections at start",
}
"""Number in the contract -> what it says."""

VECTORS = {
    "chat": "Chat parsing",
    "dag": "Activate and bypass",
    "typing": "Literals and typing",
    "batch": "Batch over CSV and JSONL",
    "evaluation": "Evaluation run over a base run",
    "flex": "Flex class run with init",
    "exit": "Exit codes",
}
"""Groups of exact vectors."""

shown_by: dict[int | str, list[str]] = {}


def shows(*numbers: int | str) -> Callable[[Test], Test]:
    """Mark a test as showing points or vectors of the contract."""

    def mark(test: Test) -> Test:
        for number in numbers:
            names = shown_by.setdefault(number, [])
            if test.__name__ not in names:
                names.append(test.__name__)
        return test

    return mark
