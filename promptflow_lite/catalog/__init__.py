"""Which models there are, where their files lie, and what a file's header says about it."""

from promptflow_lite._utils.gguf import GgufHeader, read_header
from promptflow_lite.catalog.bundled import BundledModel, bundled_models
from promptflow_lite.catalog.card import ModelCard, read_card
from promptflow_lite.catalog.hub import HubFile, choose_file, download, list_files, search_hub
from promptflow_lite.catalog.index import ModelIndex, models_folder
from promptflow_lite.catalog.machine import Machine, describe_machine
from promptflow_lite.catalog.resolve import default_model, resolve_model

__all__ = [
    "BundledModel",
    "GgufHeader",
    "HubFile",
    "Machine",
    "ModelCard",
    "ModelIndex",
    "bundled_models",
    "choose_file",
    "default_model",
    "describe_machine",
    "download",
    "list_files",
    "models_folder",
    "read_card",
    "read_header",
    "resolve_model",
    "search_hub",
]
