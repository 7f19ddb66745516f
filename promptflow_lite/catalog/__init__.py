"""Which models there are, where their files lie, and what a file's header says about it."""

from promptflow_lite.catalog.bundled import bundled_models
from promptflow_lite.catalog.resolve import default_model, resolve_model

__all__ = ["bundled_models", "default_model", "resolve_model"]
