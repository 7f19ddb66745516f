"""Local inference on GGUF models: one thread, shared prefixes, rows decoded together."""

from promptflow_lite.engine.choices import correct_prior
from promptflow_lite.engine.engine import Engine, Generation, Ticket, close_engines, loaded_engines, shared_engine
from promptflow_lite.engine.grammar import JSON_OBJECT_SCHEMA, grammar_of_schema, smallest_instance, tool_call_schema
from promptflow_lite.engine.settings import EngineSettings
from promptflow_lite.engine.step import EngineStats
from promptflow_lite.engine.worker import Delta, Finished, Scored, TokenChoice

__all__ = [
    "JSON_OBJECT_SCHEMA",
    "Delta",
    "Engine",
    "EngineSettings",
    "EngineStats",
    "Finished",
    "Generation",
    "Scored",
    "Ticket",
    "TokenChoice",
    "close_engines",
    "correct_prior",
    "grammar_of_schema",
    "loaded_engines",
    "shared_engine",
    "smallest_instance",
    "tool_call_schema",
]
