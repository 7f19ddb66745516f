"""A flow as an endpoint: the contract's routes, deployments, keys, records.

Importing this door is cheap; FastAPI and uvicorn are loaded when an application is created.
"""

from promptflow_lite.serving.endpoint import ServingSettings
from promptflow_lite.serving.keys import new_key, rotate_key
from promptflow_lite.serving.schema import Interface, describe_interface, openapi_document, swagger_document

__all__ = [
    "Interface",
    "ServingSettings",
    "describe_interface",
    "new_key",
    "openapi_document",
    "rotate_key",
    "swagger_document",
]
