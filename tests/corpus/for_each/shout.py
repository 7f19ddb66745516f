from promptflow.core import tool


@tool
def shout(word: str, mark: str) -> str:
    return word.upper() + mark
