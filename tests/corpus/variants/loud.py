from promptflow.core import tool


@tool
def loud(text: str, mark: str) -> str:
    return text.upper() + mark
