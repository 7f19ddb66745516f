from promptflow.core import tool


@tool
def join(words: list, size: int, count: int, separator: str = "-") -> str:
    return separator.join(words * count) + f"/{size}"
