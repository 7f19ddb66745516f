"""A local model behind the OpenAI API; FastAPI and uvicorn are loaded when an application is made."""

from promptflow_lite.serving.models.settings import ModelServerSettings

__all__ = ["ModelServerSettings"]
