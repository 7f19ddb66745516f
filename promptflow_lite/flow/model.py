"""What a flow is, as plain data: the parsed form of `flow.dag.yaml`, `flow.flex.yaml` and `.prompty` files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from promptflow_lite.errors import Location
from promptflow_lite.flow.references import Reference

INPUT_TYPES = (
    "int",
    "double",
    "bool",
    "string",
    "secret",
    "prompt_template",
    "list",
    "object",
    "file_path",
    "image",
    "assistant_definition",
)
"""Declared types a flow input may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """A declared flow input."""

    name: str
    type: str = "string"
    default: Any = None
    """None means there is no default: the input is required."""
    description: str = ""
    enum: tuple[Any, ...] = ()
    is_chat_input: bool = False
    is_chat_history: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """A declared flow output."""

    name: str
    reference: Reference | None
    literal: Any = None
    """The value when `reference` is None."""
    type: str = "string"
    description: str = ""
    is_chat_output: bool = False
    evaluation_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivateSpec:
    """Run the node only when `when` equals `equals` (or satisfies the extended condition)."""

    when: Reference | Any
    equals: Any = None
    operator: Literal["is", "not", "in", "not_in", "lt", "le", "gt", "ge"] = "is"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """Where a node's code or template is."""

    type: Literal["code", "package", "package_with_prompt"] = "code"
    path: str | None = None
    tool: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    """How often a failing node is tried again."""

    max_attempts: int = 1
    delay_s: float = 1.0
    backoff: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatSpec:
    """Run a sub-flow again until its condition holds."""

    until: Reference | Any
    """`${outputs.NAME}` of the sub-flow (kind `output`); the loop ends when the value is true."""
    max: int = 3
    carry: dict[str, Any] = field(default_factory=dict)
    """Sub-flow input -> `${outputs.NAME}` reference (or literal) that replaces it from the second round on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One node of a DAG flow, its variant already chosen."""

    name: str
    type: str
    """`python`, `llm`, `prompt`, `custom_llm`, `flow`, `prompty`."""
    source: SourceSpec | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    """Input name -> `Reference` or literal."""
    connection: str | None = None
    api: str | None = None
    provider: str | None = None
    module: str | None = None
    tool: str | None = None
    aggregation: bool = False
    activate: ActivateSpec | None = None
    enable_cache: bool = False
    retry: RetrySpec | None = None
    timeout_s: float | None = None
    for_each: Reference | None = None
    """A list; the node runs once for each element, which its inputs read as `${item}` (kind `item`)."""
    concurrency: int = 4
    """Elements of `for_each` that run at once."""
    repeat: RepeatSpec | None = None
    where: Location | None = None

    @property
    def runs_flow(self) -> bool:
        """Whether the node runs a whole flow or a prompty."""
        is_prompty = self.source is not None and str(self.source.path or "").endswith(".prompty")
        return self.type in ("flow", "prompty") or (is_prompty and self.type in ("llm", "prompt"))

    def references(self) -> list[Reference]:
        """References to flow inputs and nodes in inputs, activate and for_each, in file order."""
        found = [value for value in self.inputs.values() if isinstance(value, Reference) and value.kind != "item"]
        if self.activate and isinstance(self.activate.when, Reference):
            found.append(self.activate.when)

        if self.for_each:
            found.append(self.for_each)

        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class DagFlow:
    """A `flow.dag.yaml` with variants chosen, nodes in topological order and includes materialised."""

    path: Path
    """The yaml file."""
    root: Path
    """Working directory of execution: the flow's folder, or the merged copy when files are included."""
    name: str
    inputs: dict[str, InputSpec]
    outputs: dict[str, OutputSpec]
    nodes: tuple[NodeSpec, ...]
    id: str = "default_flow_id"
    type: str = "standard"
    display_name: str = ""
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    environment_variables: dict[str, str] = field(default_factory=dict)
    additional_includes: tuple[str, ...] = ()
    message_format: Literal["basic", "openai-vision"] = "basic"
    variant: str | None = None
    """The selected `${node.variant}`, if any."""
    tools: tuple[dict[str, Any], ...] = ()
    """Legacy inline tool metadata."""
    warnings: tuple[str, ...] = ()

    def node(self, name: str) -> NodeSpec | None:
        return next((node for node in self.nodes if node.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexFlow:
    """A `flow.flex.yaml`, or a `module:attr` entry without a file."""

    path: Path | None
    root: Path
    name: str
    entry: str
    """`module.path:attr`."""
    inputs: dict[str, InputSpec] | None = None
    """None when the yaml declares none: inferred from the code when it runs."""
    outputs: dict[str, OutputSpec] | None = None
    init: dict[str, InputSpec] | None = None
    sample: dict[str, Any] = field(default_factory=dict)
    """Keys `init` and `inputs`."""
    type: str = "standard"
    display_name: str = ""
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    environment_variables: dict[str, str] = field(default_factory=dict)
    additional_includes: tuple[str, ...] = ()
    message_format: Literal["basic", "openai-vision"] = "basic"
    target: Any = field(default=None, compare=False, repr=False)
    """A Python callable to run instead of importing the entry; its inputs are not coerced."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptyFlow:
    """A `.prompty` file: front matter and template."""

    path: Path
    root: Path
    name: str
    template: str
    api: Literal["chat", "completion"]
    configuration: dict[str, Any]
    parameters: dict[str, Any]
    response: Literal["first", "all"]
    inputs: dict[str, InputSpec]
    outputs: dict[str, OutputSpec] | None = None
    sample: dict[str, Any] | None = None
    template_line: int = 1
    """Line of the file at which the template starts."""
    description: str = ""
    type: str = "standard"
    display_name: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    environment_variables: dict[str, str] = field(default_factory=dict)
    message_format: Literal["basic", "openai-vision"] = "basic"
    warnings: tuple[str, ...] = ()


Flow = DagFlow | FlexFlow | PromptyFlow


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with a flow, found without running any of its code."""

    code: str
    """Stable code, such as `flow.unknown_reference`."""
    message: str
    hint: str = ""
    where: Location | None = None
    yaml_path: str = ""
    """`nodes.0.source.path`"""
    value: Any = None
    severity: Literal["error", "warning"] = "error"
