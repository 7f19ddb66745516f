from promptflow.core import tool


@tool
def quiet(text: str) -> str:
    return text.lower()
