"""`for_each`: a node's tool called once for every element of a list, several at a time.

Inputs read the element as `${item}` or `${item.title}`; the node's output is the list of outputs, in the order of the
elements.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import Any

from promptflow_lite.errors import InputTypeError, PromptflowException
from promptflow_lite.flow import NodeSpec, Reference, resolve_path
from promptflow_lite.runtime.aio import iterate, run_coroutine
from promptflow_lite.tools import Parameter, ResolvedTool
from promptflow_lite.tracing import Scope, current_scope

LIST_PARAMETER = "for_each"
"""Under this name the list itself reaches the mapped tool, and is recorded."""


def mapped_node(node: NodeSpec, tool: ResolvedTool) -> tuple[NodeSpec, ResolvedTool]:
    """The node and tool as the plan sees them: the list is an input, and inputs that read the element are not."""
    source = node.for_each
    if source is None:
        return node, tool

    element_paths = {
        name: value for name, value in node.inputs.items() if isinstance(value, Reference) and value.kind == "item"
    }
    inputs = {name: value for name, value in node.inputs.items() if name not in element_paths}
    mapped = replace(
        tool,
        call=_MappedCall(node, tool, element_paths),
        parameters={**tool.parameters, LIST_PARAMETER: Parameter(name=LIST_PARAMETER, types=("list",))},
        is_async=False,
        stream_parameter=None,
    )
    return replace(node, inputs={LIST_PARAMETER: source, **inputs}), mapped


class _MappedCall:
    """The callable of a mapped node."""

    def __init__(self, node: NodeSpec, tool: ResolvedTool, element_paths: dict[str, Reference]) -> None:
        self._node = node
        self._call: Callable[..., Any] = tool.call
        self._element_paths = element_paths

    def __call__(self, **arguments: Any) -> list[Any]:
        elements = arguments.pop(LIST_PARAMETER)
        if elements is None:
            return []

        if not isinstance(elements, list | tuple):
            raise InputTypeError(
                f"Node {self._node.name!r} runs for each element of a list, but got a {type(elements).__name__}.",
                hint="Let the node that `for_each` reads return a list.",
                where=self._node.where,
            )

        parent = current_scope()
        scopes = [Scope(self._node.name) for _ in elements]
        with ThreadPoolExecutor(self._node.concurrency, thread_name_prefix="pfl-for-each") as pool:
            waiting = [
                pool.submit(copy_context().run, self._call_one, scope, index, element, arguments)
                for index, (scope, element) in enumerate(zip(scopes, elements, strict=True))
            ]
            try:
                outputs = [future.result() for future in waiting]
            except BaseException:
                for future in waiting:
                    future.cancel()
                raise
            finally:
                if parent is not None:
                    _merge(scopes, parent)
        return outputs

    def _call_one(self, scope: Scope, index: int, element: Any, arguments: dict[str, Any]) -> Any:
        values = {name: resolve_path(element, path) for name, path in self._element_paths.items()}
        with scope:
            try:
                output = self._call(**arguments, **values)
                if inspect.iscoroutine(output):
                    output = run_coroutine(output)

                return _collected(output)
            except PromptflowException:
                raise
            except Exception as error:
                error.add_note(f"while running element {index} of the list")
                raise


def _collected(output: Any) -> Any:
    """What a streaming tool yields, as text or as a list."""
    if not isinstance(output, Iterator) and not inspect.isasyncgen(output):
        return output

    items = list(iterate(output) if inspect.isasyncgen(output) else output)
    return "".join(items) if all(isinstance(item, str) for item in items) else items


def _merge(scopes: list[Scope], parent: Scope) -> None:
    for scope in scopes:
        parent.spans.extend(scope.spans)
        parent.usage.add(scope.usage)
        parent.stdout.extend(scope.stdout)
        parent.stderr.extend(scope.stderr)
    parent.is_cached = bool(scopes) and all(scope.is_cached for scope in scopes)
