from promptflow.core import tool


@tool
def double(n: int) -> int:
    return 2 * n
