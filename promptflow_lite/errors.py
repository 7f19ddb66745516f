"""The whole exception tree, and how an exception becomes storable data.

Class names and nesting follow the prompt flow contract, because they surface in error records as nested codes
(`UserError` -> `ValidationError` -> `InvalidFlowRequest` -> `InputTypeError`) and because user code catches them by
name. Beside its class every error carries what a person needs: a stable dotted `code` to search for, a `hint` that
says what to do next, and `where` it happened.

    PromptflowException
    ├── UserErrorException            somebody outside this package can fix it
    │   ├── ValidationException       the flow, its inputs or its data are wrong
    │   │   └── InvalidFlowRequest …
    │   ├── SDKError                  runs, connections, settings
    │   ├── CoreError                 prompty and model configuration
    │   ├── ProviderError             a model or its server refused
    │   ├── EngineError               the local engine refused
    │   └── SetupError                this installation lacks something
    └── SystemErrorException          our fault, or an unforeseen state
"""

from __future__ import annotations

import errno
import re
import traceback
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a user's file; line and column count from 1."""

    path: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)


def _dotted_code(class_name: str) -> str:
    """`InputTypeError` -> `input_type`, the default code of a class that names none."""
    stem = re.sub(r"(Exception|Error)$", "", class_name) or class_name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", stem).lower()


class PromptflowException(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: The final text. When empty it is built from `message_format` and `facts`.
        message_format: The text with `{name}` placeholders, kept apart so that records can be grouped.
        target: The part that failed, recorded as `referenceCode`.
        module: A finer name inside the target.
        hint: What to do next.
        where: The place in the user's file.
        facts: Named values behind the message.
    """

    code: ClassVar[str] = "error"
    default_target: ClassVar[str] = "Unknown"
    retryable: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" not in cls.__dict__:
            parent = next(base for base in cls.__mro__[1:] if issubclass(base, PromptflowException))
            family = parent.code.split(".")[0]
            cls.code = f"{family}.{_dotted_code(cls.__name__)}"

    def __init__(
        self,
        message: str = "",
        message_format: str = "",
        target: Any = None,
        module: str | None = None,
        *,
        hint: str | None = None,
        where: Location | None = None,
        **facts: Any,
    ) -> None:
        facts.pop("error", None)
        if not message and message_format:
            message = _format_leniently(message_format, facts)
        super().__init__(message)
        self.message = message
        self.message_format = message_format
        self.target = str(getattr(target, "value", target) or self.default_target)
        self.module = module
        self.hint = hint
        self.where = where
        self.facts = facts

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))

    @property
    def error_codes(self) -> list[str]:
        """Nested codes from the root of the tree to this class."""
        chain = [
            cls.__dict__.get("chain_name", cls.__name__)
            for cls in reversed(type(self).__mro__)
            if issubclass(cls, PromptflowException)
            and cls is not PromptflowException
            and not cls.__dict__.get("is_transparent")
        ]
        return chain or ["SystemError"]

    @property
    def reference_code(self) -> str:
        return f"{self.target}/{self.module}" if self.module else self.target

    @property
    def additional_info(self) -> list[dict[str, Any]]:
        """Typed extra information for the error record; empty for most errors."""
        return []


def _rebuild(cls: type[PromptflowException], args: tuple[Any, ...], state: dict[str, Any]) -> PromptflowException:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


def _format_leniently(message_format: str, facts: dict[str, Any]) -> str:
    try:
        return message_format.format(**facts)
    except (KeyError, IndexError, ValueError):
        return message_format


class UserErrorException(PromptflowException):
    """Somebody outside this package can fix it."""

    code = "user.error"
    chain_name = "UserError"


class SystemErrorException(PromptflowException):
    """An unforeseen state, or our own fault."""

    code = "system.error"
    chain_name = "SystemError"


# --- the flow, its inputs and its data ---


class ValidationException(UserErrorException):
    """The flow, its inputs or its data are wrong."""

    code = "flow.invalid"
    chain_name = "ValidationError"


class FlowSyntaxError(ValidationException):
    """YAML, front matter or a template cannot be parsed."""

    code = "flow.syntax"


class IncludeError(ValidationException):
    """An additional include cannot be used."""

    code = "flow.include"


class FlowValidationError(ValidationException):
    """A flow has problems; carries all of them in `facts['problems']`."""

    code = "flow.invalid"


class InvalidFlowRequest(ValidationException):
    """The flow cannot be executed as asked."""

    code = "flow.invalid_request"
    default_target = "Executor"


class DuplicateNodeName(InvalidFlowRequest):
    """Two nodes have the same name."""


class EmptyOutputReference(InvalidFlowRequest):
    """An output refers to nothing."""


class OutputReferenceNotFound(InvalidFlowRequest):
    """An output refers to a node that does not exist."""


class InputReferenceNotFound(InvalidFlowRequest):
    """A node refers to a flow input that does not exist."""


class InputNotFound(InvalidFlowRequest):
    """A required flow input has no value."""


class InputTypeError(InvalidFlowRequest):
    """A value does not fit the declared type of its input."""


class InputParseError(InvalidFlowRequest):
    """The text of an input cannot be parsed as its declared type."""


class InvalidConnectionType(InvalidFlowRequest):
    """A node's connection has a kind that its tool does not take."""


class NodeReferenceNotFound(InvalidFlowRequest):
    """A node refers to a node that does not exist."""


class NodeCircularDependency(InvalidFlowRequest):
    """Nodes depend on each other in a circle."""


class InvalidNodeReference(InvalidFlowRequest):
    """A node may not refer to that node."""


class NodeInputValidationError(InvalidFlowRequest):
    """A node's inputs do not fit its tool."""


class InvalidRequest(ValidationException):
    """The request cannot be executed."""

    code = "flow.request"


class GetConnectionError(InvalidRequest):
    """A node's connection cannot be used."""


class PackageToolNotFoundError(ValidationException):
    """A package tool is not installed."""


class MissingRequiredInputs(ValidationException):
    """A tool's required inputs have no value."""


class InputTypeMismatch(ValidationException):
    """A tool's input has another type than declared."""


class InvalidSource(ValidationException):
    """A node's source names no usable file or tool."""


class InvalidImageInput(ValidationException):
    """A value cannot be read as an image."""


class ApplyInputMappingError(ValidationException):
    """A column mapping refers to columns that the data lacks."""


class InputMappingError(ValidationException):
    """The sources of a run cannot be joined line by line."""


class EmptyInputsData(ValidationException):
    """The data has no rows."""


class InvalidCustomLLMTool(ValidationException):
    """A custom LLM tool is not declared rightly."""


class InvalidAssistantTool(ValidationException):
    """An assistant's tool is not declared rightly."""


class ValueTypeUnresolved(ValidationException):
    """The type of a value is not known."""


class DuplicateToolMappingError(ValidationException):
    """Two packages bring the same tool."""


class InvalidFlexFlowEntry(ValidationException):
    """The entry of a flex flow cannot be used."""


class InvalidModelConfigValueType(ValidationException):
    """A model configuration has a value of the wrong type."""


class APINotFound(ValidationException):
    """A provider has no API of that name."""


class ToolValidationError(ValidationException):
    """A tool is not declared rightly."""

    code = "tool.invalid"
    default_target = "Executor"


class PythonParsingError(ToolValidationError):
    """A Python tool cannot be understood."""


class NoToolDefined(PythonParsingError):
    """A Python file defines no tool."""


class MultipleToolsDefined(PythonParsingError):
    """A Python file defines more than one tool."""


class PythonLoadError(PythonParsingError):
    """A Python file cannot be imported."""


class PythonLoaderNotFound(PythonParsingError):
    """A file is no Python file."""


class BadFunctionInterface(PythonParsingError):
    """A tool's function has a signature that cannot be used."""


class JinjaParsingError(ToolValidationError):
    """The syntax of a prompt template is wrong."""

    code = "template.syntax"


class DataError(ValidationException):
    """A data file cannot be read."""

    code = "data.unreadable"


# --- execution ---


class ToolExecutionError(UserErrorException):
    """A tool raised. `facts['details']` holds type, message, traceback, filename, lineno and name."""

    code = "run.tool_failed"
    default_target = "Tool"
    details_type: ClassVar[str] = "ToolExecutionErrorDetails"

    @property
    def additional_info(self) -> list[dict[str, Any]]:
        details = self.facts.get("details")
        return [{"type": self.details_type, "info": details}] if details else []


class ScriptExecutionError(ToolExecutionError):
    """The entry of a flex flow raised."""

    code = "run.script_failed"
    details_type = "FlexFlowExecutionErrorDetails"


class LineExecutionTimeoutError(UserErrorException):
    """A line took longer than its limit."""

    code = "run.line_timeout"


class NodeTimeoutError(UserErrorException):
    """A node took longer than its limit."""

    code = "run.node_timeout"


class BatchExecutionTimeoutError(UserErrorException):
    """A line did not finish before its run's limit."""

    code = "run.batch_timeout"


class BatchRunTimeoutError(UserErrorException):
    """A run took longer than its limit."""

    code = "run.timeout"


class ProcessCrashError(UserErrorException):
    """The process that executed a line ended."""

    code = "run.process_crash"


class RunCanceledError(UserErrorException):
    """A run was stopped on request."""

    code = "run.canceled"


class RunInterruptedError(UserErrorException):
    """The process that executed a run ended without finishing it."""

    code = "run.interrupted"


class ToolLoadError(UserErrorException):
    """A node's tool cannot be loaded."""

    code = "tool.load"


class ToolCanceledError(UserErrorException):
    """A node was stopped before it ended."""

    code = "tool.canceled"


class NodeOutputNotFound(UserErrorException):
    """The output of a node is not there."""

    code = "run.node_output_not_found"


class SingleNodeValidationError(UserErrorException):
    """A single node cannot be run with these inputs."""

    code = "run.single_node"


class FlowOutputUnserializable(UserErrorException):
    """An output has no JSON form."""

    code = "run.output_unserializable"


class OutputTooLargeError(UserErrorException):
    """A node or flow gives more than is kept; the limit is `PFL_MAX_OUTPUT_MB`."""

    code = "run.output_too_large"


class FlowEntryInitializationError(UserErrorException):
    """The class of a flex flow cannot be constructed."""

    code = "flow.entry_initialization"


class InvalidAggregationFunction(UserErrorException):
    """The aggregation of a flex flow cannot be used."""

    code = "flow.invalid_aggregation_function"


class EmptyLLMApiMapping(UserErrorException):
    """No LLM tool is known."""

    code = "tool.empty_llm_api_mapping"


class FlowDefinitionError(UserErrorException):
    """A flow's file has the wrong shape; `code` says how."""

    code = "flow.definition"

    def __init__(self, message: str = "", message_format: str = "", *, code: str | None = None, **rest: Any) -> None:
        super().__init__(message, message_format, **rest)
        if code:
            self.__dict__["code"] = code


class FlowEditError(FlowDefinitionError):
    """A flow's file cannot be edited as asked."""

    code = "flow.edit"


class FailedToImportModule(UserErrorException):
    """A module cannot be imported."""

    code = "flow.import_module"


class LoadMultimediaDataError(UserErrorException):
    """An image in an input cannot be loaded."""

    code = "data.multimedia"


class InvalidMessageFormatType(UserErrorException):
    """A flow names an unknown message format."""

    code = "flow.message_format"


class NotSupported(UserErrorException):
    """What was asked is not supported."""

    code = "user.not_supported"


class UnknownConnectionType(UserErrorException):
    """A connection has an unknown kind."""

    code = "connection.unknown_type"


class EnvironmentVariableNotFoundError(UserErrorException):
    """A connection refers to an environment variable that is not set."""

    code = "connection.environment_variable"


class BadRequest(UserErrorException):
    """A request to a served flow is wrong."""

    code = "serving.bad_request"


class MissingRequiredFlowInput(BadRequest):
    """A request lacks a required input."""


class JsonPayloadRequiredForMultipleInputFields(BadRequest):
    """A request to a flow of several inputs must be JSON."""


class InvalidFlowInitConfig(BadRequest):
    """The constructor values of a served flow are wrong."""


class NotAcceptable(UserErrorException):
    """A client accepts no form that the answer has."""

    code = "serving.not_acceptable"


class ServingError(UserErrorException):
    """A request to an endpoint is refused before the flow runs, or an endpoint cannot be set up as asked."""

    code = "serving.error"
    default_target = "Serving"


class AuthenticationError(ServingError):
    """The request carries no valid key or token."""


class PermissionDeniedError(ServingError):
    """The key or token is valid, but its role does not allow this."""


class RateLimitedError(ServingError):
    """A key exceeded its rate; `facts['retry_after_s']` says when to come back."""

    retryable = True


class QuotaExceededError(ServingError):
    """A key used up what it may use in this period."""


class PayloadTooLargeError(ServingError):
    """The request body is larger than the endpoint accepts."""


class RequestTimeoutError(ServingError):
    """The flow did not answer within the endpoint's time limit."""


class OverloadedError(ServingError):
    """The endpoint is stopping, or has too many requests under way."""

    retryable = True


class UnsafeBindError(ServingError):
    """An endpoint would be reachable from other machines without authentication."""


class ForeignPageError(ServingError):
    """A web page of another site called a server that asks for no key."""


class ApiKeyNotFoundError(ServingError):
    """There is no API key of that id."""


class EndpointNotFoundError(ServingError):
    """There is no endpoint or deployment of that name."""


class AuditTamperedError(ServingError):
    """The audit log does not match its own hashes."""


class NodeReferenceError(UserErrorException):
    """A reference to a node's output cannot be followed."""

    code = "run.node_reference"


class UnsupportedReference(NodeReferenceError):
    """A reference has a form that is not supported."""


class InvalidReferenceProperty(NodeReferenceError):
    """A reference's property path is wrong."""


class OutputReferenceNotExist(NodeReferenceError):
    """A node's output lacks what a reference names."""


class UnexpectedError(SystemErrorException):
    """Something happened that nobody foresaw."""

    code = "system.unexpected"


class InvalidNameError(UserErrorException):
    """A name cannot be that of a folder, so nothing can be kept under it."""


class FileError(UserErrorException):
    """A file or folder cannot be used."""

    code = "file.error"


class DiskFullError(FileError):
    """The disk, a quota or a file size limit leaves no room for a file."""


class FileAccessError(FileError):
    """A file or folder may not be read or written."""


class InvalidAggregationInput(SystemErrorException):
    """The inputs of an aggregation node are inconsistent."""

    code = "run.aggregation_input"


class InputNotFoundFromAncestorNodeOutput(SystemErrorException):
    """The output of an ancestor node is not there."""

    code = "run.ancestor_output"


class NoNodeExecutedError(SystemErrorException):
    """No node was executed."""

    code = "run.no_node_executed"


class ResolveToolError(PromptflowException):
    """A node's tool could not be prepared. Codes and extra information are those of the error inside."""

    is_transparent: ClassVar[bool] = True
    code = "tool.resolve"
    default_target = "Executor"

    def __init__(self, node: str, inner: BaseException) -> None:
        super().__init__(
            f"Tool load failed in {node!r}: ({type(inner).__name__}) {inner}",
            message_format="Tool load failed in {node_name!r}.",
            hint=getattr(inner, "hint", None),
            where=getattr(inner, "where", None),
            node_name=node,
        )
        self.inner = inner
        self.__cause__ = inner

    @property
    def error_codes(self) -> list[str]:
        if isinstance(self.inner, PromptflowException):
            return self.inner.error_codes

        return ["SystemError", type(self.inner).__name__]

    @property
    def additional_info(self) -> list[dict[str, Any]]:
        return self.inner.additional_info if isinstance(self.inner, PromptflowException) else []


# --- runs, connections, settings ---


class SDKError(UserErrorException):
    """An operation on runs, connections or settings failed."""

    code = "sdk.error"
    default_target = "ControlPlaneSDK"


class RunExistsError(SDKError):
    """A run of that name exists."""

    code = "run.exists"


class RunNotFoundError(SDKError):
    """There is no run of that name."""

    code = "run.not_found"


class InvalidRunStatusError(SDKError):
    """A run is in a state that does not allow this."""

    code = "run.status"


class InvalidRunError(SDKError):
    """A run cannot be used as asked."""

    code = "run.invalid"


class RunOperationParameterError(SDKError):
    """The parameters of an operation on runs do not fit."""

    code = "run.parameter"


class ConnectionNotFoundError(SDKError):
    """There is no connection of that name."""

    code = "connection.not_found"


class ConnectionNameNotSetError(SDKError):
    """A connection was given no name."""

    code = "connection.name_not_set"


class InvalidFlowError(SDKError):
    """The flow or its variant cannot be used."""

    code = "flow.invalid_variant"


class StoreConnectionEncryptionKeyError(SDKError):
    """The key file of stored secrets cannot be used."""

    code = "connection.encryption_key"


class DecryptConnectionError(SDKError):
    """A stored secret cannot be decrypted."""

    code = "connection.decrypt"


class UsageError(SDKError):
    """A command was given arguments that do not fit."""

    code = "cli.usage"


class BulkRunException(SDKError):
    """Lines or aggregation nodes of a run failed."""

    code = "run.lines_failed"


class GenerateFlowMetaJsonError(SDKError):
    """A flow cannot be described."""

    code = "flow.meta"


class InvalidConfigValue(SDKError):
    """A setting is unknown, or its value is not allowed."""

    code = "config.value"


class ExperimentError(SDKError):
    """An experiment cannot be executed."""

    code = "experiment.error"


class SettingsError(SDKError):
    """A settings file or the state folder cannot be used."""

    code = "config.unusable"


class FileChangedError(SDKError):
    """A file is no longer what it was when it was read."""

    code = "flow.file_changed"


class StoreError(SDKError):
    """The database cannot be used."""

    code = "store.error"


class StoreLockedError(StoreError):
    """Another process holds the database for too long."""

    code = "store.locked"
    retryable = True


class StoreFullError(StoreError):
    """The disk, a quota or a file size limit leaves no room."""

    code = "store.full"


class StoreCorruptError(StoreError):
    """The file is damaged, or no database of ours."""

    code = "store.corrupt"


class StoreReadOnlyError(StoreError):
    """The file or its folder may not be written or opened."""

    code = "store.read_only"


class StoreVersionError(StoreError):
    """A newer version of this package wrote the database."""

    code = "store.newer"


class EvaluatorError(SDKError):
    """An evaluator cannot be used as asked."""

    code = "evaluator.error"


# --- prompty and model configuration ---


class CoreError(UserErrorException):
    """A prompty or a model configuration is wrong."""

    code = "core.error"


class MissingRequiredInputError(CoreError):
    """A prompty's required inputs have no value."""


class InvalidOutputKeyError(CoreError):
    """A model's answer lacks a declared output."""


class InvalidConnectionError(CoreError):
    """A prompty's connection cannot be used."""


class RequiredEnvironmentVariablesNotSetError(CoreError):
    """Environment variables that are needed are not set."""


class JinjaTemplateError(CoreError):
    """A template cannot be rendered."""

    code = "template.render"

    @property
    def error_codes(self) -> list[str]:
        family = "ToolValidationError" if self.target == "Tool" else "CoreError"
        return ["UserError", family, "JinjaTemplateError"]


class ChatAPIInvalidRoleError(CoreError):
    """A prompty's text does not start with a role."""


class InvalidSampleError(CoreError):
    """A prompty's sample cannot be used."""


# --- models ---


class ChatRequestError(UserErrorException):
    """A chat message or function description cannot be sent."""

    code = "provider.message"
    chain_name = "ToolValidationError"
    default_target = "Tool"


class ChatAPIInvalidRole(ChatRequestError):
    """A prompt's text does not start with a role."""


class ChatAPIFunctionRoleInvalidFormat(ChatRequestError):
    """A message of the function role lacks its name or content."""


class ChatAPIToolRoleInvalidFormat(ChatRequestError):
    """A message of the tool role lacks its id or content."""


class ChatAPIInvalidFunctions(ChatRequestError):
    """The functions offered to a model are not described rightly."""


class ChatAPIInvalidTools(ChatRequestError):
    """The tools offered to a model are not described rightly."""


class FunctionCallNotSupportedInStreamMode(ChatRequestError):
    """Function calls cannot be streamed."""


class OpenAIError(UserErrorException):
    """A request to a model failed."""

    code = "provider.error"
    default_target = "Tool"


class ProviderError(OpenAIError):
    """A model's server refused or failed; facts name model, provider, status, request_id and retry_after_s."""

    is_transparent: ClassVar[bool] = True


class WrappedOpenAIError(ProviderError):
    """A client error of the `openai` package; the class name of the cause ends the chain of codes."""

    is_transparent: ClassVar[bool] = True
    code = "provider.request"

    @property
    def error_codes(self) -> list[str]:
        cause = self.facts.get("error_type")
        return [*super().error_codes, cause] if cause else super().error_codes


class ProviderAuthError(WrappedOpenAIError):
    """A provider refused the key."""

    is_transparent: ClassVar[bool] = True
    code = "provider.auth"


class ProviderUnavailableError(WrappedOpenAIError):
    """A provider cannot be reached, or failed."""

    is_transparent: ClassVar[bool] = True
    code = "provider.unavailable"
    retryable = True


class ProviderTimeoutError(WrappedOpenAIError, TimeoutError):
    """A provider did not answer in time."""

    is_transparent: ClassVar[bool] = True
    code = "provider.timeout"
    retryable = True


class RateLimitError(WrappedOpenAIError):
    """A provider asks for fewer requests."""

    is_transparent: ClassVar[bool] = True
    code = "provider.rate_limit"
    retryable = True


class ContextLengthError(WrappedOpenAIError):
    """A prompt is longer than the model's context."""

    is_transparent: ClassVar[bool] = True
    code = "provider.context_length"


class ContentFilterError(WrappedOpenAIError):
    """A provider's content filter refused the prompt or the answer."""

    is_transparent: ClassVar[bool] = True
    code = "provider.content_filter"


class ExceedMaxRetryTimes(WrappedOpenAIError):
    """A request failed as often as it may be tried."""

    is_transparent: ClassVar[bool] = True
    code = "provider.retries_exhausted"


class LLMError(OpenAIError):
    """A model's answer cannot be used."""

    code = "provider.llm"

    @property
    def error_codes(self) -> list[str]:
        return ["UserError", "LLMError"]


class EngineError(UserErrorException):
    """The local engine refused a model or a request."""

    code = "engine.error"
    default_target = "Engine"


class ModelLoadError(EngineError):
    """A model file cannot be loaded."""


class ModelNotFoundError(EngineError):
    """There is no model of that name or path."""


class ContextFullError(EngineError):
    """A prompt and its answer do not fit the model's context."""


class EngineBusyError(EngineError):
    """The engine has as many requests as it may hold."""

    retryable = True


class GrammarError(EngineError):
    """A grammar or JSON schema cannot constrain an answer."""


class EngineRequestError(EngineError):
    """A field of a request to the local engine is wrong, or the model cannot honour it."""

    code = "engine.request"


class OutputCutError(EngineError):
    """A structured answer did not fit `max_tokens`."""

    code = "engine.output_cut"


class EngineClosedError(EngineError):
    """The engine was closed."""

    code = "engine.closed"


class EngineTimeoutError(EngineError, TimeoutError):
    """The engine did not answer in time."""

    code = "engine.timeout"
    retryable = True


# --- this installation ---


class SetupError(UserErrorException):
    """This installation lacks something."""

    code = "setup.error"


class MissingExtraError(SetupError, ImportError):
    """A feature needs packages that are not installed."""

    code = "setup.missing_extra"

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed.",
            hint=f"Install them with: pip install 'promptflow-lite[{extra}]'",
            feature=feature,
            extra=extra,
        )


class CompatImportError(SetupError, ImportError):
    """A name of the original that cannot work on one machine was used."""

    code = "setup.cloud_only"


# --- exceptions as data ---


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS)


def file_error(error: BaseException) -> FileError | None:
    """The `FileError` for an operating system's refusal to write or open a file; None for everything else."""
    if not isinstance(error, OSError) or error.errno not in (*_NO_ROOM, *_NO_ACCESS):
        return None

    place = f": {error.filename}" if error.filename else ""
    message = f"{error.strerror}{place}."
    if error.errno in _NO_ROOM:
        return DiskFullError(message, hint="Free some space and repeat the command; finished work is kept.")

    return FileAccessError(message, hint="Make the file and its folder writable, or choose another place.")


def error_to_dict(error: BaseException, *, include_debug_info: bool = True) -> dict[str, Any]:
    """The error record of an exception: nested codes, message, facts and, if asked, the traceback.

    `hint`, `errorCode` and `where` are additions of this package; readers of the original ignore unknown keys.
    """
    if isinstance(error, PromptflowException):
        result: dict[str, Any] = {
            "message": error.message,
            "messageFormat": error.message_format,
            "messageParameters": {k: str(v) for k, v in error.facts.items() if k != "details"},
            "referenceCode": error.reference_code,
            **_nested_codes(error.error_codes),
            "errorCode": error.code,
        }
        if error.additional_info:
            result["additionalInfo"] = error.additional_info

        if error.hint:
            result["hint"] = error.hint

        if error.where:
            result["where"] = str(error.where)
    else:
        result = {
            "message": str(error),
            "messageFormat": "",
            "messageParameters": {},
            **_nested_codes(["SystemError", type(error).__name__]),
        }

    if include_debug_info:
        result["debugInfo"] = _debug_info(error)

    return result


def _nested_codes(codes: list[str]) -> dict[str, Any]:
    inner: dict[str, Any] | None = None
    for code in reversed(codes[1:]):
        inner = {"code": code, "innerError": inner}
    return {"code": codes[0], "innerError": inner}


def _debug_info(error: BaseException) -> dict[str, Any]:
    return {
        "type": type(error).__name__,
        "message": str(error),
        "stackTrace": "".join(traceback.format_tb(error.__traceback__)),
        "innerException": _debug_info(error.__cause__) if error.__cause__ else None,
    }
