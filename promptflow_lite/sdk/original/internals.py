"""Private names of the original that samples and tool packages import, each in its smallest honest form."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from promptflow_lite import __version__ as VERSION
from promptflow_lite._utils.attributes import AttributeDict
from promptflow_lite.errors import error_to_dict
from promptflow_lite.tracing import trace

F = TypeVar("F", bound=Callable[..., Any])

LOGGER_NAME = "promptflow"
LANGUAGE_KEY = "language"
LINE_NUMBER_KEY = "line_number"


# --- errors


class ErrorTarget(enum.StrEnum):
    """The part that failed, recorded as `referenceCode`."""

    EXECUTOR = "Executor"
    BATCH = "Batch"
    CORE = "Core"
    FLOW_EXECUTOR = "FlowExecutor"
    NODE_EXECUTOR = "NodeExecutor"
    TOOL = "Tool"
    AZURE_RUN_STORAGE = "AzureRunStorage"
    RUNTIME = "Runtime"
    UNKNOWN = "Unknown"
    RUN_TRACKER = "RunTracker"
    RUN_STORAGE = "RunStorage"
    CONTROL_PLANE_SDK = "ControlPlaneSDK"
    SERVING_APP = "ServingApp"
    FLOW_INVOKER = "FlowInvoker"
    FUNCTION_PATH = "FunctionPath"
    EVAL = "Eval"


class ErrorCategory(enum.StrEnum):
    """Who has to act on an error."""

    USER_ERROR = "UserError"
    SYSTEM_ERROR = "SystemError"
    UNKNOWN = "Unknown"


class ExceptionPresenter:
    """An exception as the error record that runs store."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    @classmethod
    def create(cls, error: BaseException) -> ExceptionPresenter:
        """The presenter of an exception."""
        return cls(error)

    def to_dict(self, *, include_debug_info: bool = False) -> dict[str, Any]:
        """The error record."""
        return error_to_dict(self._error, include_debug_info=include_debug_info)


class ErrorResponse:
    """An error record as the body of an answer."""

    def __init__(self, error_dict: dict[str, Any]) -> None:
        self._error = error_dict

    @classmethod
    def from_exception(cls, error: BaseException, *, include_debug_info: bool = False) -> ErrorResponse:
        """The answer for an exception."""
        return cls(error_to_dict(error, include_debug_info=include_debug_info))

    @classmethod
    def from_error_dict(cls, error_dict: dict[str, Any]) -> ErrorResponse:
        """The answer for an error record."""
        return cls(error_dict)

    @property
    def message(self) -> str:
        return str(self._error.get("message", ""))

    @property
    def response_code(self) -> int:
        """400 for user errors, else 500."""
        return 400 if self._error.get("code") == "UserError" else 500

    @property
    def error_codes(self) -> list[str]:
        codes: list[str] = []
        level: dict[str, Any] | None = self._error
        while level:
            codes.append(level["code"])
            level = level.get("innerError")
        return codes

    @property
    def innermost_error_code(self) -> str | None:
        return self.error_codes[-1] if self._error else None

    def to_dict(self) -> dict[str, Any]:
        """The body."""
        return {"error": self._error}

    def to_simplified_dict(self) -> dict[str, Any]:
        """The body with code and message only."""
        return {"error": {"code": self._error.get("code"), "message": self.message}}


# --- enumerations


class ConnectionType(enum.StrEnum):
    """Kinds of connections, as connections name their own kind."""

    _NOT_SET = "NotSet"
    AZURE_OPEN_AI = "AzureOpenAI"
    OPEN_AI = "OpenAI"
    QDRANT = "Qdrant"
    COGNITIVE_SEARCH = "CognitiveSearch"
    SERP = "Serp"
    AZURE_CONTENT_SAFETY = "AzureContentSafety"
    AZURE_AI_SERVICES = "AzureAIServices"
    FORM_RECOGNIZER = "FormRecognizer"
    WEAVIATE = "Weaviate"
    SERVERLESS = "Serverless"
    CUSTOM = "Custom"


class FlowLanguage(enum.StrEnum):
    """Languages a flow may be written in."""

    Python = "python"
    CSharp = "csharp"


class FlowType(enum.StrEnum):
    """Kinds of flow files."""

    DAG_FLOW = "dag"
    FLEX_FLOW = "flex"
    PROMPTY = "prompty"


class RunMode(enum.StrEnum):
    """What a flow was run for."""

    Test = "Test"
    SingleNode = "SingleNode"
    Batch = "Batch"


class ListViewType(enum.StrEnum):
    """Which runs a list shows."""

    ACTIVE_ONLY = "ActiveOnly"
    ARCHIVED_ONLY = "ArchivedOnly"
    ALL = "All"


class RunStatus(enum.StrEnum):
    """Statuses of a run as the SDK compares them."""

    QUEUED = "Queued"
    NOT_STARTED = "NotStarted"
    PREPARING = "Preparing"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCEL_REQUESTED = "CancelRequested"
    CANCELED = "Canceled"


class FlowRunProperties:
    """Keys of a run's properties."""

    FLOW_PATH = "flow_path"
    OUTPUT_PATH = "output_path"
    NODE_VARIANT = "node_variant"
    RUN = "run"
    SYSTEM_METRICS = "system_metrics"
    COLUMN_MAPPING = "column_mapping"
    INIT_KWARGS = "init_kwargs"


# --- logging and configuration


def get_logger(name: str = LOGGER_NAME, verbosity: int = logging.INFO, **_ignored: Any) -> logging.Logger:
    """A logger that writes to standard output."""
    found = logging.getLogger(name)
    if not found.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s %(process)7d %(name)-18s %(levelname)-8s %(message)s"))
        found.addHandler(handler)
        found.setLevel(verbosity)

    return found


class LoggerFactory:
    """Loggers by name."""

    get_logger = staticmethod(get_logger)


def get_cli_sdk_logger() -> logging.Logger:
    """The logger of commands and the SDK."""
    return logging.getLogger(LOGGER_NAME)


logger = logging.getLogger("execution")
flow_logger = logging.getLogger("execution.flow")
bulk_logger = logging.getLogger("execution.bulk")
service_logger = logging.getLogger("execution.service")


def get_telemetry_logger(*_args: Any, **_kwargs: Any) -> logging.Logger:
    """A logger that keeps everything to itself: nothing is ever sent anywhere."""
    silent = logging.getLogger("promptflow_lite.telemetry")
    if not silent.handlers:
        silent.addHandler(logging.NullHandler())
        silent.propagate = False

    return silent


class Configuration:
    """Settings as the original's SDK reads and writes them; kept in memory."""

    _instance: ClassVar[Configuration | None] = None

    def __init__(self, overrides: dict[str, Any] | None = None, **_ignored: Any) -> None:
        self._config: dict[str, Any] = dict(overrides or {})

    @classmethod
    def get_instance(cls) -> Configuration:
        """The configuration of this process."""
        cls._instance = cls._instance or cls()
        return cls._instance

    @property
    def config(self) -> dict[str, Any]:
        return dict(self._config)

    def get_config(self, key: str) -> Any:
        """A value by its dotted name; None when it is not set."""
        return self._config.get(key)

    def set_config(self, key: str, value: Any) -> None:
        """Set a value for this process."""
        self._config[key] = value

    def is_internal_features_enabled(self) -> bool:
        """Experiments need no switch here."""
        return True


class ConnectionProvider:
    """Connections by name, from the local store."""

    _instance: ClassVar[ConnectionProvider | None] = None

    @classmethod
    def get_instance(cls) -> ConnectionProvider:
        """The provider of this installation."""
        cls._instance = cls._instance or cls()
        return cls._instance

    def get(self, name: str, **_ignored: Any) -> Any:
        """A connection with its secrets."""
        return _pf_client().connections.get(name)

    def list(self, **_ignored: Any) -> Any:
        """All connections, without their secrets."""
        return _pf_client().connections.list(all_results=True)


def _pf_client() -> Any:
    from promptflow_lite.sdk.pf_client import PFClient

    return PFClient()


# --- files and templates


def load_yaml(source: Any) -> Any:
    """Parse a YAML file, stream or path with the dialect of flow files."""
    from promptflow_lite.flow import parse_yaml

    text = source.read() if hasattr(source, "read") else Path(source).read_text(encoding="utf-8")
    return parse_yaml(text).value


def dump_yaml(data: Any, stream: Any = None, **_ignored: Any) -> str | None:
    """Write YAML to a stream, or return it as text."""
    from promptflow_lite.flow import dump_yaml_text

    text = dump_yaml_text(data)
    if stream is None:
        return text

    stream.write(text)
    return None


def render_jinja_template(template_path: Any, *, trim_blocks: bool = True, **variables: Any) -> str:
    """Render a template file in the sandbox of prompt nodes."""
    from promptflow_lite.flow import render_template

    return render_template(Path(template_path).read_text(encoding="utf-8"), variables)


def render_jinja_template_content(template_content: str, **variables: Any) -> str:
    """Render a template's text in the sandbox of prompt nodes."""
    from promptflow_lite.flow import render_template

    return render_template(template_content, variables)


def to_bool(value: Any) -> bool:
    """`true` in any case is true."""
    return str(value).lower() == "true"


# --- async


def async_run_allowing_running_loop(
    async_func: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
) -> Any:
    """The result of an async function for code that is not async, whether or not an event loop runs in this thread."""
    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(context.run, lambda: asyncio.run(async_func(*args, **kwargs))).result()


# --- tool registration


def enable_cache(func: F) -> F:
    """Mark a function as cacheable; `enable_cache: true` on a node is what switches caching on."""
    return func


def register_apis(cls: F) -> F:
    """Accept a provider class of a tool package."""
    return cls


def register_api(func: F) -> F:
    """Accept an API function of a tool package."""
    return func


def register_builtins(cls: F) -> F:
    """Accept a built-in tool class of a tool package."""
    return cls


def register_connections(*_classes: Any) -> None:
    """Accept connection classes of a tool package."""


def register_builtin_method(func: F) -> F:
    """Accept a built-in tool method of a tool package."""
    return func


class ToolInvoker:
    """Calls a tool; flows that use it get a plain call."""

    def invoke_tool(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `func`."""
        return func(*args, **kwargs)


class CacheManager:
    """The original's cache interface, which never stored anything."""

    @staticmethod
    def init_from_env() -> CacheManager:
        """A manager."""
        return CacheManager()


# --- tracing


class TraceType(enum.StrEnum):
    """Kinds of traced calls."""

    LLM = "LLM"
    TOOL = "Tool"
    FUNCTION = "Function"
    LANGCHAIN = "LangChain"
    FLOW = "Flow"
    EMBEDDING = "Embedding"
    RETRIEVAL = "Retrieval"
    FLOW_FEEDBACK = "FeedBack"


@dataclass
class Trace:
    """One traced call as data."""

    name: str
    type: TraceType = TraceType.FUNCTION
    inputs: dict[str, Any] | None = None
    output: Any = None
    start_time: float | None = None
    end_time: float | None = None
    error: dict[str, Any] | None = None
    children: list[Trace] = field(default_factory=list)
    node_name: str | None = None
    parent_id: str = ""
    id: str = ""
    function: str | None = None


def _create_trace_from_function_call(
    func: Callable[..., Any],
    *,
    args: list[Any] | tuple[Any, ...] | None = None,
    kwargs: dict[str, Any] | None = None,
    args_to_ignore: list[str] | None = None,
    trace_type: TraceType = TraceType.FUNCTION,
    name: str | None = None,
) -> Trace:
    """Describe a call without making it."""
    import inspect

    bound = inspect.signature(func).bind_partial(*(args or ()), **(kwargs or {}))
    ignored = {"self", *(args_to_ignore or ())}
    inputs = {key: value for key, value in bound.arguments.items() if key not in ignored}
    return Trace(
        name=name or func.__qualname__,
        type=trace_type,
        inputs=inputs,
        function=f"{func.__module__}.{func.__qualname__}",
    )


class Tracer:
    """The original's in-memory collector; spans of flows are collected by the runtime, so this one stays empty."""

    @classmethod
    def active(cls) -> bool:
        """No collector is ever active."""
        return False

    @classmethod
    def active_instance(cls) -> Tracer | None:
        """No collector is ever active."""
        return None

    @classmethod
    def start_tracing(cls, run_id: str, node_name: str | None = None) -> None:
        """Accepted; the runtime records spans."""

    @classmethod
    def end_tracing(cls, run_id: str | None = None) -> list[dict[str, Any]]:
        """What was collected: nothing."""
        return []


class OperationContext(AttributeDict):
    """Facts about the running operation, one object per process; keys are also attributes."""

    _instance: ClassVar[OperationContext | None] = None

    @classmethod
    def get_instance(cls) -> OperationContext:
        """The context of this process."""
        cls._instance = cls._instance or cls()
        return cls._instance

    def get_user_agent(self) -> str:
        """Who makes requests."""
        return f"promptflow-lite/{VERSION}"

    def append_user_agent(self, user_agent: str) -> None:
        """Accepted; the user agent of this package does not change."""


class IteratorProxy:
    """An iterator that remembers its items, so that they can be recorded once it is consumed."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator = iterator
        self.items: list[Any] = []

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = next(self._iterator)
        self.items.append(item)
        return item


class AsyncIteratorProxy:
    """`IteratorProxy` for async iterators."""

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self._iterator = iterator
        self.items: list[Any] = []

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        item = await anext(self._iterator)
        self.items.append(item)
        return item


def inject_operation_headers(func: F) -> F:
    """Accept a client function; requests carry no extra headers."""
    return func


def inject_function_sync(
    args_to_ignore: Any = None, trace_type: Any = None, name: str | None = None
) -> Callable[[F], F]:
    """A decorator that traces a client function."""
    return trace(args_to_ignore=tuple(args_to_ignore or ()))


def inject_function_async(
    args_to_ignore: Any = None, trace_type: Any = None, name: str | None = None
) -> Callable[[F], F]:
    """A decorator that traces an async client function."""
    return trace(args_to_ignore=tuple(args_to_ignore or ()))


def inject_openai_api() -> None:
    """Model calls of flows are recorded by the providers; nothing needs to be replaced."""
