"""What a Python file declares as tools, read from its syntax tree without running it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from promptflow_lite.errors import FlowSyntaxError, Location

_SCALARS = {
    "int": "int",
    "float": "double",
    "bool": "bool",
    "str": "string",
    "list": "list",
    "List": "list",
    "dict": "object",
    "Dict": "object",
    "Secret": "secret",
    "PromptTemplate": "prompt_template",
    "FilePath": "file_path",
    "Image": "image",
    "AssistantDefinition": "assistant_definition",
}
_CONNECTIONS = frozenset(
    f"{name}Connection"
    for name in (
        "AzureOpenAI",
        "OpenAI",
        "Serverless",
        "Serp",
        "CognitiveSearch",
        "AzureAIServices",
        "AzureContentSafety",
        "FormRecognizer",
        "Qdrant",
        "Weaviate",
        "Bing",
        "Custom",
    )
)
_TOOL_MODULES = ("promptflow", "promptflow_lite")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolParameter:
    """A declared input of a tool."""

    name: str
    types: tuple[str, ...]
    has_default: bool = False
    default: Any = None
    """The default when it is a literal; its source text otherwise."""
    enum: tuple[str, ...] = ()
    custom_types: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The entry of `inputs` in a tool's metadata."""
        data: dict[str, Any] = {"type": list(self.types)}
        if self.has_default and self.default is not None:
            data["default"] = self.default

        if self.enum:
            data["enum"] = list(self.enum)

        if self.custom_types:
            data["custom_type"] = list(self.custom_types)

        return data


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSignature:
    """A tool that a file defines."""

    function: str
    line: int
    parameters: dict[str, ToolParameter]
    class_name: str | None = None
    accepts_extra: bool = False
    """Whether any further keyword is accepted (`**kwargs`)."""
    is_async: bool = False
    is_generator: bool = False
    description: str = ""
    init_parameters: tuple[str, ...] = ()
    """Names that the constructor of the tool's class takes; they must be literals."""

    def to_dict(self, source: str) -> dict[str, Any]:
        """The tool's entry in `flow.tools.json`."""
        data: dict[str, Any] = {
            "type": "python",
            "inputs": {name: parameter.to_dict() for name, parameter in self.parameters.items()},
            "source": source,
            "function": self.function,
        }
        return {**data, "class_name": self.class_name} if self.class_name else data


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleOutline:
    """What the top level of a Python file defines."""

    tools: tuple[ToolSignature, ...]
    names: frozenset[str]
    """Every name the file binds at its top level."""
    functions: dict[str, ToolSignature] = field(default_factory=dict)
    """Every function and class of the top level, as if it were a tool; classes by their `__call__`."""
    has_unknown_decorators: bool = False
    """Whether a function has a decorator that may wrap `@tool`."""
    star_imports: bool = False


def read_module(source: str, path: str) -> ModuleOutline:
    """The outline of a Python file.

    Raises:
        FlowSyntaxError: the source is not Python; `where` names the line.
    """
    tree = _parse(source, path)
    outline = _Outline(tree)
    return outline.read()


def _parse(source: str, path: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source.removeprefix("\ufeff"))
    except SyntaxError as error:
        raise FlowSyntaxError(
            f"The Python file cannot be parsed: {error.msg}.",
            hint="Correct the syntax at that line.",
            where=Location(path, error.lineno or 1, error.offset or None),
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise FlowSyntaxError(f"The Python file cannot be parsed: {error}.", where=Location(path, 1)) from error


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of the top level, those inside `if`, `try` and `with` included."""
    for statement in body:
        yield statement
        for name in ("body", "orelse", "finalbody"):
            if isinstance(statement, ast.If | ast.Try | ast.With):
                yield from _statements(getattr(statement, name, []))

        if isinstance(statement, ast.Try):
            for handler in statement.handlers:
                yield from _statements(handler.body)


class _Outline:
    def __init__(self, tree: ast.Module) -> None:
        self.statements = list(_statements(tree.body))
        self.tool_names: set[str] = set()
        self.module_aliases: dict[str, str] = {}
        self.provider_names = {"ToolProvider"}
        self.enums: dict[str, tuple[str, ...]] = {}
        self.custom_connections: set[str] = set()
        self.names: set[str] = set()
        self.star_imports = False
        self.has_unknown_decorators = False

    def read(self) -> ModuleOutline:
        for statement in self.statements:
            self.note(statement)

        tools: list[ToolSignature] = []
        functions: dict[str, ToolSignature] = {}
        for statement in self.statements:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                functions[statement.name] = self.signature(statement)
                if self.is_tool(statement):
                    tools.append(functions[statement.name])
            elif isinstance(statement, ast.ClassDef):
                tools.extend(self.class_tools(statement))
                functions[statement.name] = self.class_signature(statement)
            elif (wrapped := self.wrapped_tool(statement)) and wrapped in functions:
                tools.append(functions[wrapped])

        return ModuleOutline(
            tools=tuple(tools),
            names=frozenset(self.names),
            functions=functions,
            has_unknown_decorators=self.has_unknown_decorators,
            star_imports=self.star_imports,
        )

    def note(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.ImportFrom):
            self.note_import_from(statement)
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                bound = alias.asname or alias.name.split(".")[0]
                self.names.add(bound)
                self.module_aliases[bound] = alias.name
        elif isinstance(statement, ast.ClassDef):
            self.note_class(statement)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            self.names.add(statement.name)
        elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                self.names.update(node.id for node in ast.walk(target) if isinstance(node, ast.Name))

    def note_import_from(self, statement: ast.ImportFrom) -> None:
        from_promptflow = (statement.module or "").split(".")[0] in _TOOL_MODULES
        for alias in statement.names:
            bound = alias.asname or alias.name
            self.names.add(bound)
            self.star_imports |= alias.name == "*"
            if from_promptflow and alias.name == "tool":
                self.tool_names.add(bound)
            elif from_promptflow and alias.name == "*":
                self.tool_names.add("tool")
            elif alias.name == "ToolProvider":
                self.provider_names.add(bound)

    def note_class(self, statement: ast.ClassDef) -> None:
        self.names.add(statement.name)
        bases = {_last_name(base) for base in statement.bases}
        if bases & {"Enum", "StrEnum", "IntEnum"}:
            self.enums[statement.name] = tuple(
                str(item.value.value)
                for item in statement.body
                if isinstance(item, ast.Assign) and isinstance(item.value, ast.Constant)
            )
        elif bases & {"CustomStrongTypeConnection"}:
            self.custom_connections.add(statement.name)

    def is_tool(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        is_tool = False
        for decorator in function.decorator_list:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            if self.names_tool(target):
                is_tool = True
            else:
                self.has_unknown_decorators = True

        return is_tool

    def names_tool(self, target: ast.expr) -> bool:
        if isinstance(target, ast.Name):
            return target.id in self.tool_names

        if isinstance(target, ast.Attribute) and target.attr == "tool":
            root: ast.expr = target
            while isinstance(root, ast.Attribute):
                root = root.value

            module = self.module_aliases.get(root.id, "") if isinstance(root, ast.Name) else ""
            return module.split(".")[0] in _TOOL_MODULES

        return False

    def wrapped_tool(self, statement: ast.stmt) -> str | None:
        """The function that `name = tool(function)` turns into a tool."""
        value = statement.value if isinstance(statement, ast.Assign) else None
        if isinstance(value, ast.Call) and self.names_tool(value.func) and value.args:
            argument = value.args[0]
            return argument.id if isinstance(argument, ast.Name) else None

        return None

    def class_tools(self, statement: ast.ClassDef) -> Iterator[ToolSignature]:
        if not any(_last_name(base) in self.provider_names for base in statement.bases):
            return

        for method in statement.body:
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and self.is_tool(method):
                yield self.method_signature(statement, method)

    def class_signature(self, statement: ast.ClassDef) -> ToolSignature:
        for method in statement.body:
            if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and method.name == "__call__":
                return self.method_signature(statement, method)

        return ToolSignature(function=statement.name, line=statement.lineno, parameters={}, accepts_extra=True)

    def method_signature(
        self, statement: ast.ClassDef, method: ast.FunctionDef | ast.AsyncFunctionDef
    ) -> ToolSignature:
        own = self.signature(method, is_method=True)
        init = next(
            (item for item in statement.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None
        )
        init_signature = self.signature(init, is_method=True) if init else None
        return ToolSignature(
            function=own.function,
            line=own.line,
            parameters={**(init_signature.parameters if init_signature else {}), **own.parameters},
            class_name=statement.name,
            accepts_extra=own.accepts_extra,
            is_async=own.is_async,
            is_generator=own.is_generator,
            description=own.description,
            init_parameters=tuple(init_signature.parameters) if init_signature else (),
        )

    def signature(self, function: ast.FunctionDef | ast.AsyncFunctionDef, *, is_method: bool = False) -> ToolSignature:
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        missing = len(positional) - len(arguments.defaults)
        defaults: list[ast.expr | None] = [*([None] * missing), *arguments.defaults]
        pairs: list[tuple[ast.arg, ast.expr | None]] = list(zip(positional, defaults, strict=True))
        pairs = pairs[1 if is_method else 0 :] + list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
        return ToolSignature(
            function=function.name,
            line=function.lineno,
            parameters={argument.arg: self.parameter(argument, default) for argument, default in pairs},
            accepts_extra=arguments.kwarg is not None,
            is_async=isinstance(function, ast.AsyncFunctionDef),
            is_generator=_is_generator(function),
            description=(ast.get_docstring(function) or "").partition("\n")[0],
        )

    def parameter(self, argument: ast.arg, default: ast.expr | None) -> ToolParameter:
        value = _literal(default)
        names = _annotation_names(argument.annotation)
        if not names:
            types: tuple[str, ...] = (_type_of(value) if default is not None else "object",)
        elif len(names) == 1:
            types = (self.type_name(names[0]),)
        else:
            are_connections = all(name.endswith("Connection") for name in names)
            types = tuple(dict.fromkeys(self.type_name(name) for name in names)) if are_connections else ("object",)

        return ToolParameter(
            name=argument.arg,
            types=types,
            has_default=default is not None,
            default=value,
            enum=self.enums.get(names[0], ()) if len(names) == 1 else (),
            custom_types=tuple(name for name in names if self.is_custom_connection(name)),
        )

    def is_custom_connection(self, name: str) -> bool:
        return name in self.custom_connections or (name.endswith("Connection") and name not in _CONNECTIONS)

    def type_name(self, name: str) -> str:
        if self.is_custom_connection(name):
            return "CustomConnection"

        if name in _CONNECTIONS:
            return name

        return "string" if name in self.enums else _SCALARS.get(name, "object")


def _annotation_names(annotation: ast.expr | None) -> list[str]:
    """Names of an annotation's members, `None` left out; `Optional[X]` and `X | None` are `X`."""
    if annotation is None:
        return []

    if isinstance(annotation, ast.Constant):
        return _text_annotation(annotation.value)

    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return [*_annotation_names(annotation.left), *_annotation_names(annotation.right)]

    if isinstance(annotation, ast.Subscript):
        outer = _last_name(annotation.value)
        if outer in ("Optional", "Union"):
            inner = annotation.slice
            members = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return [name for member in members for name in _annotation_names(member)]

        return [outer or "object"]

    return [_last_name(annotation) or "object"]


def _text_annotation(value: object) -> list[str]:
    if not isinstance(value, str):
        return []

    try:
        return _annotation_names(ast.parse(value, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ["object"]


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr

    return node.id if isinstance(node, ast.Name) else ""


def _literal(node: ast.expr | None) -> Any:
    if node is None:
        return None

    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ast.unparse(node)


def _type_of(value: Any) -> str:
    types: Mapping[type, str] = {bool: "bool", int: "int", float: "double", str: "string", list: "list", dict: "object"}
    return types.get(type(value), "object")


def _is_generator(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True

        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            pending.extend(ast.iter_child_nodes(node))

    return False
