from promptflow.core import tool


@tool
def shout(prompt: str) -> str:
    return prompt.upper()
