"""Turn a model's answer into one of the queue names."""

from promptflow.core import tool

QUEUES = ("billing", "technical", "account", "other")


@tool
def clean(answer: str) -> str:
    words = answer.lower()
    return next((queue for queue in QUEUES if queue in words), "other")
