"""Writes small flows for tests and makes executors of them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptflow_lite.connections import DictConnectionSource
from promptflow_lite.flow import load_flow
from promptflow_lite.runtime import LineExecutor, create_executor


def write_files(folder: Path, files: Mapping[str, str]) -> Path:
    """Write dedented texts below a folder; returns the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
    return folder


def tool_source(body: str, *, imports: str = "") -> str:
    """A tool file around one function."""
    return f"from promptflow.core import tool\n{imports}\n\n@tool\n{textwrap.dedent(body)}\n"


def graph_flow(folder: Path, edges: str, *, code: Mapping[str, str] | None = None, extra: str = "") -> Path:
    """A flow of python nodes from `a -> b, a -> c`; each node joins the names it saw unless `code` gives its body.

    The flow's input `x` reaches every node without a predecessor; every node without a successor is an output.
    """
    sources: dict[str, list[str]] = {}
    for edge in edges.split(","):
        source, _, target = (part.strip() for part in edge.partition("->"))
        sources.setdefault(source, [])
        if target:
            sources.setdefault(target, []).append(source)

    lines = ["inputs:", "  x: {type: string, default: start}", "outputs:"]
    targets = {name for found in sources.values() for name in found}
    lines += [f"  {name}: {{type: string, reference: '${{{name}.output}}'}}" for name in sources if name not in targets]
    lines.append("nodes:")
    files = {}
    for name, found in sources.items():
        bound = {f"i_{source}": f"${{{source}.output}}" for source in found} or {"x": "${inputs.x}"}
        lines += [f"- name: {name}", "  type: python", f"  source: {{type: code, path: {name}.py}}", "  inputs:"]
        lines += [f"    {key}: {value}" for key, value in bound.items()]
        parameters = ", ".join(bound)
        default = f"def {name}({parameters}):\n    return '+'.join(map(str, [{parameters}])) + '>{name}'"
        files[f"{name}.py"] = tool_source((code or {}).get(name, default))
    return write_files(folder, {"flow.dag.yaml": "\n".join(lines) + "\n" + textwrap.dedent(extra), **files})


def executor_of(folder: Path, *, connections: Any = None, **options: Any) -> LineExecutor:
    """An executor for the flow in a folder."""
    return create_executor(load_flow(folder), connections or DictConnectionSource(), **options)
