"""Entries of flex flows: importing `module:attr`, and what its signature says about inputs, outputs and init."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from promptflow_lite._utils.imports import hint_for_import_error
from promptflow_lite.connections import Connection
from promptflow_lite.errors import Location, PromptflowException, PythonLoadError
from promptflow_lite.flow import InputSpec, OutputSpec
from promptflow_lite.tools.base import Parameter
from promptflow_lite.tools.model_configuration import ModelConfiguration
from promptflow_lite.tools.module import flow_import_path
from promptflow_lite.tools.signature import parameters_of

_imported_for_flows: set[str] = set()
"""Modules that a flex flow brought in; they are imported afresh for the next executor, so edits take effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySignature:
    """What an entry's Python signature says."""

    inputs: dict[str, InputSpec]
    outputs: dict[str, OutputSpec] | None
    """None when the return annotation does not name them."""
    init: dict[str, InputSpec] | None
    """Parameters of `__init__`; None for functions."""
    parameters: dict[str, Parameter]
    """Parameters of the function or of `__call__`."""


def load_entry(entry: str, root: Path) -> Any:
    """Import the function or class that `module.path:attr` names, with `root` first on the import path.

    Raises:
        PythonLoadError: the module cannot be imported, or has no such attribute.
    """
    module_name, _, attribute = entry.partition(":")
    module = _import_fresh(module_name, entry, root)
    found = getattr(module, attribute, None)
    if found is None:
        raise PythonLoadError(
            f"Failed to collect flow entry {attribute!r} in module {module_name!r}.",
            hint=f"Define a function or class {attribute!r} in {module_name}.py, or correct the entry.",
            where=Location(str(getattr(module, "__file__", module_name))),
        )

    return found


def _import_fresh(module_name: str, entry: str, root: Path) -> ModuleType:
    _forget_stale_modules(module_name, root)
    known = set(sys.modules)
    with flow_import_path(root):
        importlib.invalidate_caches()
        try:
            return importlib.import_module(module_name)
        except PromptflowException:
            raise
        except Exception as error:  # the user's module may fail in any way
            raise PythonLoadError(
                f"Failed to load python module {module_name!r} from entry {entry!r}: ({type(error).__name__}) {error}",
                hint=hint_for_import_error(error, f"Correct the error; the flow's folder is {root}."),
                where=_place_of(error, root),
            ) from error
        finally:
            _imported_for_flows.update(name for name in set(sys.modules) - known if _is_below(sys.modules[name], root))


def _forget_stale_modules(module_name: str, root: Path) -> None:
    """A module of another flow's folder, or of an earlier look at this one, must not stand in for the file."""
    for name in [name for name in _imported_for_flows if name in sys.modules]:
        if _is_below(sys.modules[name], root) or _shadows(name, root):
            del sys.modules[name]
            _imported_for_flows.discard(name)

    top = module_name.partition(".")[0]
    loaded = sys.modules.get(top)
    if (
        loaded is not None
        and top not in sys.stdlib_module_names
        and _shadows(top, root)
        and not _is_below(loaded, root)
    ):
        for name in [name for name in sys.modules if name == top or name.startswith(top + ".")]:
            del sys.modules[name]


def _shadows(name: str, root: Path) -> bool:
    top = name.partition(".")[0]
    return (root / f"{top}.py").is_file() or (root / top).is_dir()


def _is_below(module: Any, root: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return isinstance(origin, str) and root in Path(origin).parents


def _place_of(error: Exception, root: Path) -> Location | None:
    if isinstance(error, SyntaxError) and error.filename:
        return Location(error.filename, error.lineno, error.offset)

    trace = error.__traceback__
    place = None
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if root in Path(filename).parents:
            place = Location(filename, trace.tb_lineno)
        trace = trace.tb_next
    return place


def callable_of(entry: Any) -> Callable[..., Any]:
    """The function that runs a line: the entry itself, or `__call__` of a class or instance."""
    if isinstance(entry, functools.partial):
        return entry

    if inspect.isclass(entry):
        call: Callable[..., Any] = inspect.unwrap(entry.__call__)
        return call

    is_function = inspect.isfunction(entry) or inspect.ismethod(entry) or inspect.isbuiltin(entry)
    function: Callable[..., Any] = inspect.unwrap(entry if is_function else type(entry).__call__)
    return function


def name_of(entry: Any) -> str:
    """What records call the entry."""
    call = callable_of(entry)
    return str(getattr(call, "__qualname__", None) or getattr(getattr(call, "func", None), "__qualname__", "entry"))


def infer_signature(entry: Any) -> EntrySignature:
    """Inputs, outputs and init of an entry; annotations that mean nothing here are taken as objects."""
    call = callable_of(entry)
    is_method = call is not inspect.unwrap(entry) and not inspect.ismethod(call)
    parameters, _ = parameters_of(call, skip_self=is_method)
    return EntrySignature(
        inputs={name: _input_spec(parameter) for name, parameter in parameters.items()},
        outputs=_infer_outputs(_hints(call).get("return")),
        init=_infer_init(entry) if inspect.isclass(entry) else None,
        parameters=parameters,
    )


def init_annotations(cls: type) -> dict[str, Any]:
    """Resolved annotations of a class's `__init__` parameters."""
    return _hints(cls.__init__)  # type: ignore[misc]  # the signature is what is wanted


def annotation_members(annotation: Any) -> tuple[Any, ...]:
    """The classes that an annotation allows: members of a union without None, or the annotation itself."""
    members = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    return tuple(member for member in members if member is not type(None))


def _is_union(annotation: Any) -> bool:
    import types

    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _infer_init(cls: type) -> dict[str, InputSpec]:
    if cls.__init__ is object.__init__:  # type: ignore[misc]  # compared, not called
        return {}

    parameters, _ = parameters_of(cls.__init__, skip_self=True)  # type: ignore[misc]  # the signature is what is wanted
    annotations = init_annotations(cls)
    return {
        name: dataclasses.replace(_input_spec(parameter), type=_init_type(annotations.get(name), parameter))
        for name, parameter in parameters.items()
    }


def _init_type(annotation: Any, parameter: Parameter) -> str:
    for member in annotation_members(annotation):
        if isinstance(member, type) and issubclass(member, Connection | ModelConfiguration):
            return member.__name__

    return parameter.types[0]


def _input_spec(parameter: Parameter) -> InputSpec:
    return InputSpec(
        name=parameter.name,
        type=parameter.types[0],
        default=parameter.default if parameter.has_default else None,
        enum=parameter.enum,
    )


def _infer_outputs(annotation: Any) -> dict[str, OutputSpec] | None:
    if annotation is str:
        return {"output": OutputSpec(name="output", reference=None, type="string")}

    fields: Mapping[str, Any] = {}
    if dataclasses.is_dataclass(annotation) or typing.is_typeddict(annotation):
        fields = _class_hints(annotation)

    return {
        name: OutputSpec(name=name, reference=None, type=_output_type(hint)) for name, hint in fields.items()
    } or None


def _output_type(hint: Any) -> str:
    names = {str: "string", int: "int", float: "double", bool: "bool", list: "list"}
    return names.get(typing.get_origin(hint) or hint, "object")


def _class_hints(cls: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except Exception:  # annotations are the user's code and may fail in any way
        return dict(getattr(cls, "__annotations__", {}))


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # annotations are the user's code and may fail in any way
        return {}
