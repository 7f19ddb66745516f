"""Every importable name of the original and what it is here, as data.

A module maps names to an `Entry`: the object of this package that stands for it, or the reason why there is none.
Targets are text (`package.module:attribute`), resolved when a name is first used.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from promptflow_lite import errors

SupportKind = Literal["works", "deprecated", "cloud", "internal"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one name of the original is here."""

    kind: SupportKind
    target: str = ""
    """`package.module:attribute`; empty when nothing stands for the name."""
    note: str = ""
    """What to use instead, or why the name cannot work on one machine."""


def _works(target: str) -> Entry:
    return Entry("works", target)


def _group(module: str, names: str) -> dict[str, Entry]:
    """Names that keep their name in `module`."""
    return {name: _works(f"{module}:{name}") for name in names.split()}


def _deprecated(target: str, note: str) -> Entry:
    return Entry("deprecated", target, note)


def _absent(kind: Literal["cloud", "internal"], names: str, note: str) -> dict[str, Entry]:
    return {name: Entry(kind, note=note) for name in names.split()}


def _error_names() -> Iterable[str]:
    return (
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.PromptflowException) and not name.startswith("_")
    )


_TOOLS = "promptflow_lite.tools.decorator"
_TYPES = "promptflow_lite.tools.types"
_CONNECTIONS = "promptflow_lite.connections"
_INTERNALS = "promptflow_lite.sdk.original.internals"
_SDK = "promptflow_lite.sdk"
_MESSAGES = "promptflow_lite.tools.builtin.messages"
_TRACING = "promptflow_lite.tracing"

_PROMPT_HELPERS = {
    **_group(
        _MESSAGES,
        "parse_chat render_jinja_template build_messages validate_role find_referenced_image_set convert_to_chat_list "
        "preprocess_template_string to_content_str_or_list try_parse_name_and_content",
    ),
    **_group(
        "promptflow_lite.tools.builtin.openai_sdk",
        "handle_openai_error generate_retry_interval normalize_connection_config validate_functions validate_tools",
    ),
}

_ERRORS = {
    **_group("promptflow_lite.errors", " ".join(_error_names())),
    "ErrorTarget": _works(f"{_INTERNALS}:ErrorTarget"),
    "ErrorCategory": _works(f"{_INTERNALS}:ErrorCategory"),
}

_TOOL_AUTHORING = _group(_TOOLS, "tool ToolProvider InputSetting DynamicList GeneratedBy")

_CONNECTION_CLASSES = _group(
    _CONNECTIONS,
    "AzureOpenAIConnection OpenAIConnection CustomConnection CustomStrongTypeConnection CognitiveSearchConnection "
    "SerpConnection AzureContentSafetyConnection AzureAIServicesConnection FormRecognizerConnection "
    "ServerlessConnection BingConnection QdrantConnection WeaviateConnection",
)

_MODEL_CONFIGURATION = _group(
    "promptflow_lite.tools.model_configuration",
    "ModelConfiguration AzureOpenAIModelConfiguration OpenAIModelConfiguration",
)

_PROMPTY = _group("promptflow_lite.sdk.prompty", "Prompty AsyncPrompty")

_FLOW = _group("promptflow_lite.sdk.flow_function", "Flow AsyncFlow FlowContext")

_LOCAL_EVALUATORS = _group(
    "promptflow_lite.evals.evaluators",
    "RelevanceEvaluator GroundednessEvaluator CoherenceEvaluator FluencyEvaluator SimilarityEvaluator "
    "F1ScoreEvaluator BleuScoreEvaluator GleuScoreEvaluator MeteorScoreEvaluator RougeScoreEvaluator RougeType "
    "QAEvaluator ChatEvaluator",
)

_SAFETY_NAMES = (
    "ViolenceEvaluator SexualEvaluator SelfHarmEvaluator HateUnfairnessEvaluator ContentSafetyEvaluator "
    "ContentSafetyChatEvaluator ProtectedMaterialEvaluator ECIEvaluator IndirectAttackEvaluator"
)
_SAFETY = _absent(
    "cloud",
    _SAFETY_NAMES,
    "It calls the safety service of an Azure AI project. Judge with your own model instead: write a prompty that "
    "scores the answer and use it as an evaluator.",
)

_AZURE_NOTE = (
    "Azure workspaces are out of reach of a local installation. Use `from promptflow.client import PFClient`: it runs "
    "the same flows on this machine."
)

_SCHEMA_NOTE = (
    "The original's validation classes are not part of this package. `pfl schema` prints a JSON schema of every file."
)

_SERVICE_NOTE = "There is no background service here. `pfl ui` opens the studio; traces are in the local store."

TABLE: dict[str, dict[str, Entry]] = {
    "promptflow": {
        **_group(_TOOLS, "tool ToolProvider"),
        **_group(_TRACING, "trace"),
        **_group(f"{_SDK}.traces", "start_trace"),
        "log_metric": _works(f"{_TRACING}:log_metric"),
        "log_flow_metric": _works(f"{_TRACING}:log_metric"),
        "PFClient": _deprecated(f"{_SDK}.pf_client:PFClient", "promptflow.client.PFClient"),
        "load_flow": _deprecated(f"{_SDK}.flow_function:load_flow", "promptflow.client.load_flow"),
        "load_run": _deprecated(f"{_SDK}.pf_client:load_run", "promptflow.client.load_run"),
        "load_connection": _deprecated(f"{_SDK}.pf_client:load_connection", "promptflow.client.load_connection"),
        "__version__": _works(f"{_INTERNALS}:VERSION"),
    },
    "promptflow.core": {
        **_group(_TOOLS, "tool ToolProvider"),
        "log_metric": _works(f"{_TRACING}:log_metric"),
        "log_flow_metric": _works(f"{_TRACING}:log_metric"),
        **_FLOW,
        **_PROMPTY,
        **_MODEL_CONFIGURATION,
        "__version__": _works(f"{_INTERNALS}:VERSION"),
    },
    "promptflow.core._flow": {**_FLOW, **_PROMPTY},
    "promptflow.core._prompty_utils": _PROMPT_HELPERS,
    "promptflow.core._model_configuration": _MODEL_CONFIGURATION,
    "promptflow.core._connection": _CONNECTION_CLASSES,
    "promptflow.core._errors": _ERRORS,
    "promptflow.core._version": {"__version__": _works(f"{_INTERNALS}:VERSION")},
    "promptflow.core._serving": {},
    "promptflow.core._serving.app": _group("promptflow_lite.sdk.original.serving", "create_app"),
    "promptflow.client": {
        **_group(f"{_SDK}.pf_client", "PFClient load_run load_connection"),
        "load_flow": _works(f"{_SDK}.flow_function:load_flow"),
    },
    "promptflow.connections": {
        **_CONNECTION_CLASSES,
        "_Connection": _works(f"{_CONNECTIONS}:Connection"),
        **_group(_INTERNALS, "ConnectionProvider register_connections"),
    },
    "promptflow.entities": {
        **_CONNECTION_CLASSES,
        **_group(_TOOLS, "InputSetting DynamicList"),
        "Run": _works(f"{_SDK}.run_entity:Run"),
        "FlowContext": _works(f"{_SDK}.flow_function:FlowContext"),
    },
    "promptflow.tracing": {
        **_group(_TRACING, "trace"),
        **_group(f"{_SDK}.traces", "start_trace"),
        "ThreadPoolExecutorWithContext": _works(f"{_TRACING}:ThreadPoolExecutorWithContext"),
    },
    "promptflow.tracing._trace": _group(_TRACING, "trace"),
    "promptflow.tracing._start_trace": _group(f"{_SDK}.traces", "start_trace"),
    "promptflow.tracing._thread_pool_executor_with_context": _group(_TRACING, "ThreadPoolExecutorWithContext"),
    "promptflow.tracing._tracer": _group(_INTERNALS, "Tracer _create_trace_from_function_call"),
    "promptflow.tracing._operation_context": _group(_INTERNALS, "OperationContext"),
    "promptflow.tracing._integrations": {},
    "promptflow.tracing._integrations._openai_injector": _group(
        _INTERNALS, "inject_function_async inject_function_sync inject_operation_headers inject_openai_api"
    ),
    "promptflow.tracing.contracts": {},
    "promptflow.tracing.contracts.trace": _group(_INTERNALS, "Trace TraceType"),
    "promptflow.tracing.contracts.iterator_proxy": _group(_INTERNALS, "IteratorProxy AsyncIteratorProxy"),
    "promptflow.contracts": {},
    "promptflow.contracts.multimedia": _group("promptflow_lite.flow", "Image Text"),
    "promptflow.contracts.types": {
        **_group(_TYPES, "Secret PromptTemplate FilePath"),
        "AttrDict": _works("promptflow_lite._utils.attributes:AttributeDict"),
        "AssistantDefinition": _works("promptflow_lite.tools.assistant:AssistantDefinition"),
    },
    "promptflow.contracts.tool": _group(_TYPES, "ToolType ValueType ConnectionType InputDefinition Tool"),
    "promptflow.contracts.run_info": {"Status": _works("promptflow_lite.records:Status")},
    "promptflow.contracts.run_mode": _group(_INTERNALS, "RunMode"),
    "promptflow.contracts.flow": {"Flow": _works("promptflow_lite.sdk.flow_function:Flow")},
    "promptflow.contracts.trace": _group(_INTERNALS, "Trace TraceType"),
    "promptflow.contracts._errors": _ERRORS,
    "promptflow.exceptions": _ERRORS,
    "promptflow._core": {},
    "promptflow._core.tool": {
        **_TOOL_AUTHORING,
        "STREAMING_OPTION_PARAMETER_ATTR": _works(f"{_TOOLS}:STREAMING_OPTION_PARAMETER_ATTR"),
        "ToolType": _works(f"{_TYPES}:ToolType"),
        "INPUTS_TO_ESCAPE_PARAM_KEY": _works(f"{_MESSAGES}:INPUTS_TO_ESCAPE_PARAM_KEY"),
    },
    "promptflow._core.operation_context": _group(_INTERNALS, "OperationContext"),
    "promptflow._core.tracer": _group(_INTERNALS, "Tracer _create_trace_from_function_call"),
    "promptflow._core.metric_logger": {"log_metric": _works(f"{_TRACING}:log_metric")},
    "promptflow._core._errors": _ERRORS,
    "promptflow._internal": {
        **_group(_TOOLS, "tool ToolProvider"),
        "trace": _works(f"{_TRACING}:trace"),
        "log_metric": _works(f"{_TRACING}:log_metric"),
        **_group(
            _INTERNALS,
            "enable_cache register_apis register_builtins register_builtin_method register_api register_connections "
            "ToolInvoker CacheManager Tracer OperationContext ErrorResponse ExceptionPresenter get_logger "
            "render_jinja_template_content logger flow_logger bulk_logger",
        ),
    },
    "promptflow._constants": _group(_INTERNALS, "ConnectionType FlowLanguage FlowType LANGUAGE_KEY LINE_NUMBER_KEY"),
    "promptflow._cli": {},
    "promptflow._cli._pf": {},
    "promptflow._cli._pf.entry": {"main": _works("promptflow_lite.cli.main:main")},
    "promptflow._cli._pf._service": _absent(
        "internal", "_start_background_service_on_unix _start_background_service_on_windows", _SERVICE_NOTE
    ),
    "promptflow._sdk": {},
    "promptflow._sdk._errors": _ERRORS,
    "promptflow._sdk._constants": {
        **_group(_INTERNALS, "ListViewType RunStatus FlowRunProperties LOGGER_NAME"),
        "LINE_NUMBER": _works(f"{_INTERNALS}:LINE_NUMBER_KEY"),
        "ConnectionType": _works(f"{_INTERNALS}:ConnectionType"),
    },
    "promptflow._sdk._pf_client": {"PFClient": _works(f"{_SDK}.pf_client:PFClient")},
    "promptflow._sdk._load_functions": {
        "load_flow": _works(f"{_SDK}.flow_function:load_flow"),
        **_group(f"{_SDK}.pf_client", "load_run load_connection"),
        "load_yaml": _works(f"{_INTERNALS}:load_yaml"),
    },
    "promptflow._sdk._configuration": _group(_INTERNALS, "Configuration"),
    "promptflow._sdk.entities": {
        **_CONNECTION_CLASSES,
        "Run": _works(f"{_SDK}.run_entity:Run"),
        "FlowContext": _works(f"{_SDK}.flow_function:FlowContext"),
    },
    "promptflow._sdk.entities._connection": {
        **_CONNECTION_CLASSES,
        "_Connection": _works(f"{_CONNECTIONS}:Connection"),
    },
    "promptflow._sdk.entities._run": {"Run": _works(f"{_SDK}.run_entity:Run")},
    "promptflow._sdk._utilities": {},
    "promptflow._sdk._utilities.general_utils": _group(_INTERNALS, "render_jinja_template"),
    "promptflow._sdk._service": {},
    "promptflow._sdk._service.utils": {},
    "promptflow._sdk._service.utils.utils": _absent(
        "internal", "get_pfs_host get_pfs_host_after_check_wildcard get_pfs_port", _SERVICE_NOTE
    ),
    "promptflow._sdk._telemetry": _group(_INTERNALS, "get_telemetry_logger"),
    "promptflow._sdk._telemetry.telemetry": _group(_INTERNALS, "get_telemetry_logger"),
    "promptflow._sdk.schemas": {},
    "promptflow._sdk.schemas._base": _absent("internal", "YamlFileSchema", _SCHEMA_NOTE),
    "promptflow._sdk.schemas._fields": _absent("internal", "UnionField", _SCHEMA_NOTE),
    "promptflow._sdk.schemas._flow": _absent("internal", "FlexFlowSchema FlowSchema", _SCHEMA_NOTE),
    "promptflow._sdk.schemas._run": _absent("internal", "RunSchema", _SCHEMA_NOTE),
    "promptflow._sdk.schemas._connection": _absent(
        "internal",
        "AzureAIServicesConnectionSchema AzureContentSafetyConnectionSchema AzureOpenAIConnectionSchema "
        "CognitiveSearchConnectionSchema CustomConnectionSchema CustomStrongTypeConnectionSchema "
        "FormRecognizerConnectionSchema OpenAIConnectionSchema QdrantConnectionSchema SerpConnectionSchema "
        "ServerlessConnectionSchema WeaviateConnectionSchema",
        _SCHEMA_NOTE,
    ),
    "promptflow._utils": {},
    "promptflow._utils.logger_utils": _group(
        _INTERNALS, "get_logger get_cli_sdk_logger LoggerFactory logger flow_logger bulk_logger service_logger"
    ),
    "promptflow._utils.yaml_utils": _group(_INTERNALS, "load_yaml dump_yaml"),
    "promptflow._utils.multimedia_utils": {},
    "promptflow._utils.async_utils": _group(_INTERNALS, "async_run_allowing_running_loop"),
    "promptflow._version": {"VERSION": _works(f"{_INTERNALS}:VERSION"), "__version__": _works(f"{_INTERNALS}:VERSION")},
    "promptflow.executor": _group("promptflow_lite.sdk.original.executor", "FlowExecutor"),
    "promptflow.executor._errors": _ERRORS,
    "promptflow.executor.flow_executor": _group("promptflow_lite.sdk.original.executor", "FlowExecutor"),
    "promptflow.executor._assistant_tool_invoker": _group("promptflow_lite.tools.assistant", "AssistantToolInvoker"),
    "promptflow.executor._tool_invoker": _group("promptflow_lite.tools.assistant", "AssistantToolInvoker"),
    "promptflow.batch": _absent(
        "internal",
        "BatchEngine",
        "Use `PFClient().run(...)`, which runs a flow over a data file and stores the results.",
    ),
    "promptflow.tools": {},
    "promptflow.tools.aoai": {
        **_group("promptflow_lite.tools.builtin.llm_functions", "AzureOpenAI"),
        "chat": _works("promptflow_lite.tools.builtin.llm_functions:azure_chat"),
        "completion": _works("promptflow_lite.tools.builtin.llm_functions:azure_completion"),
    },
    "promptflow.tools.openai": {
        **_group("promptflow_lite.tools.builtin.llm_functions", "OpenAI"),
        "chat": _works("promptflow_lite.tools.builtin.llm_functions:openai_chat"),
        "completion": _works("promptflow_lite.tools.builtin.llm_functions:openai_completion"),
    },
    "promptflow.tools.common": {
        **_PROMPT_HELPERS,
        **_group(_MESSAGES, "ChatInputList PromptResult INPUTS_TO_ESCAPE_PARAM_KEY"),
        **_group(
            "promptflow_lite.tools.builtin.openai_sdk",
            "init_azure_openai_client init_openai_client process_function_call process_tool_choice "
            "post_process_chat_api_response",
        ),
        "to_bool": _works(f"{_INTERNALS}:to_bool"),
        **_group(
            "promptflow_lite.errors",
            "ChatAPIInvalidRole ChatAPIInvalidFunctions ChatAPIInvalidTools LLMError WrappedOpenAIError "
            "ExceedMaxRetryTimes JinjaTemplateError",
        ),
    },
    "promptflow.tools.embedding": _group("promptflow_lite.tools.builtin.embedding", "embedding"),
    "promptflow.tools.llm": _group("promptflow_lite.tools.builtin.llm_functions", "llm"),
    "promptflow.tools.llm_vision": _group("promptflow_lite.tools.builtin.vision", "llm_vision"),
    "promptflow.tools.aoai_gpt4v": _group("promptflow_lite.tools.builtin.vision", "AzureOpenAI"),
    "promptflow.tools.openai_gpt4v": _group("promptflow_lite.tools.builtin.vision", "OpenAI"),
    "promptflow.tools.serpapi": _group("promptflow_lite.tools.builtin.serpapi", "SerpAPI SafeMode Engine"),
    "promptflow.tools.azure_content_safety": _group(
        "promptflow_lite.tools.builtin.content_safety", "analyze_text TextCategorySensitivity"
    ),
    "promptflow.tools.open_model_llm": _group("promptflow_lite.tools.builtin.open_model_llm", "OpenModelLLM API"),
    "promptflow.tools.exception": _ERRORS,
    "promptflow.evals": {"evaluate": _works("promptflow_lite.evals:evaluate")},
    "promptflow.evals.evaluate": {"evaluate": _works("promptflow_lite.evals:evaluate")},
    "promptflow.evals.evaluators": {**_LOCAL_EVALUATORS, **_SAFETY},
    "promptflow.evals.evaluators.content_safety": _SAFETY,
    "promptflow.evals.synthetic": _absent(
        "cloud",
        "AdversarialSimulator AdversarialScenario DirectAttackSimulator IndirectAttackSimulator Simulator",
        "Simulation is an Azure AI service.",
    ),
    "promptflow.integrations": {},
    "promptflow.integrations.langchain": _absent(
        "internal",
        "PromptFlowCallbackHandler",
        "It was deprecated by the original. Decorate the functions that should be traced with "
        "`from promptflow.tracing import trace`.",
    ),
    "promptflow.azure": _absent("cloud", "PFClient", _AZURE_NOTE),
    "promptflow.azure._cli": {},
    "promptflow.azure._cli.entry": _absent("cloud", "main", _AZURE_NOTE),
    "promptflow.rag": _absent(
        "cloud", "build_index get_langchain_retriever_from_index", "Index building needs Azure services."
    ),
    "promptflow_vectordb": {},
    "promptflow_vectordb.core": {},
    "promptflow_vectordb.core.contracts": _group(f"{_SDK}.original.vector_search", "SearchResultEntity"),
    "promptflow_vectordb.connections": _group(_CONNECTIONS, "QdrantConnection WeaviateConnection"),
}
"""Module of the original -> name -> what it is here."""

CLOUD_ONLY_PREFIXES = {
    "promptflow.azure": _AZURE_NOTE,
    "promptflow.rag": "Index building needs Azure services.",
    "promptflow.evals.synthetic": "Simulation is an Azure AI service.",
}
"""Below these, any module can be imported and any name fails when it is used."""

EVALUATOR_MODULES = {
    "promptflow.evals.evaluators._" + module: names
    for module, names in {
        "relevance": "RelevanceEvaluator",
        "groundedness": "GroundednessEvaluator",
        "coherence": "CoherenceEvaluator",
        "fluency": "FluencyEvaluator",
        "similarity": "SimilarityEvaluator",
        "f1_score": "F1ScoreEvaluator",
        "bleu": "BleuScoreEvaluator",
        "gleu": "GleuScoreEvaluator",
        "meteor": "MeteorScoreEvaluator",
        "rouge": "RougeScoreEvaluator",
        "qa": "QAEvaluator",
        "chat": "ChatEvaluator",
    }.items()
}
TABLE |= {module: {name: _LOCAL_EVALUATORS[name]} for module, name in EVALUATOR_MODULES.items()}


def package_names() -> set[str]:
    """Modules of the table that have modules below them."""
    return {name.rpartition(".")[0] for name in TABLE if "." in name}
