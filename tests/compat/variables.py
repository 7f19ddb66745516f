"""The original's environment variables and what each does here."""

from __future__ import annotations

NO_EFFECT = "no effect: "

VARIABLES: dict[str, str] = {
    "PF_WORKER_COUNT": "lines at once; default 16, in threads",
    "PF_BATCH_METHOD": NO_EFFECT + "lines run in threads; `--isolation process` asks for a process",
    "PF_LINE_TIMEOUT_SEC": "as there; default 600 in batches",
    "PF_BATCH_TIMEOUT_SEC": "as there; unset is no limit",
    "PF_WAIT_SECONDS_AFTER_CANCELLATION": "as there; default 30",
    "PF_USE_ASYNC": NO_EFFECT + "one engine runs synchronous and asynchronous tools",
    "PF_DISABLE_TRACING": NO_EFFECT + "spans and token counts are always recorded",
    "PF_USE_SANDBOX_FOR_JINJA": "as there; default `true`",
    "PF_SKIP_SERIALIZATION_CHECK": "as there",
    "PF_LOGGING_LEVEL": "the level on standard error and of a run's `logs.txt`; `--verbose` and `--debug` win",
    "PF_LOG_FORMAT": "the layout of log lines on standard error; `logs.txt` keeps its own",
    "PF_LOG_DATETIME_FORMAT": "the layout of their times",
    "PF_LONG_RUNNING_LOGGING_INTERVAL": "warns every so many seconds that a node runs, with the stack of its thread",
    "PF_HOME_DIRECTORY": "read by `pfl migrate` only; the state folder is `PFL_HOME`",
    "PF_CONNECTION_PROVIDER": NO_EFFECT + "connections are kept on this machine",
    "PF_HTTP_CONNECTION_PROVIDER_ENDPOINT": NO_EFFECT + "connections are kept on this machine",
    "PF_TRACING_SKIP_LOCAL_SETUP": NO_EFFECT + "there is no trace service to start",
    "PF_TRACING_SKIP_EXPORTER_SETUP": "turns the export of spans off",
    "PF_BUILTIN_TRACE_EXPORTERS_DISABLE": "the same",
    "PF_TRACE_COLLECTION": NO_EFFECT + "`start_trace(collection=…)` names the collection",
    "PF_FLOW_ENTRY_IN_TMP": NO_EFFECT + "an entry needs no file beside its code",
    "PF_FLOW_META_LOAD_IN_SUBPROCESS": NO_EFFECT + "the command imports the entry itself",
    "PF_FLOW_INIT_CONFIG": "as there",
    "PF_SERVING_METRICS_COMMON_DIMENSIONS": "as there",
    "PF_DISABLE_SERIALIZATION": NO_EFFECT + "answers are always JSON",
    "PF_EVALS_BATCH_USE_ASYNC": NO_EFFECT + "evaluators run in threads",
    "PROMPTFLOW_PROJECT_PATH": "as there, also as `PF_PROJECT_PATH`",
    "PROMPTFLOW_RESPONSE_INCLUDED_FIELDS": "as there, also as `PF_RESPONSE_INCLUDED_FIELDS`",
    "PROMPTFLOW_STRUCTURE_EXCEPTION_OUTPUT": "as there",
    "PROMPTFLOW_WORKER_NUM": NO_EFFECT + "one process serves; start more containers",
    "PROMPTFLOW_WORKER_THREADS": NO_EFFECT + "requests that wait occupy no worker",
    "PROMPTFLOW_SERVING_ENGINE": NO_EFFECT + "one server streams and runs asynchronous tools",
    "PF_USER_AGENT": NO_EFFECT + "nothing is reported to anybody",
    "PF_INSTALLER": NO_EFFECT + "nothing is reported to anybody",
    "PF_NO_INTERACTIVE_LOGIN": NO_EFFECT + "nothing signs in to Azure",
    "PF_USE_AZURE_CLI_CREDENTIAL": NO_EFFECT + "nothing signs in to Azure",
    "PF_RUN_AS_BUILT_BINARY": NO_EFFECT + "`pfl flow build` makes images, no executables",
    "PF_SERVICE_DEBUG": NO_EFFECT + "there is no service beside the commands",
}
"""Variable -> what it does."""
