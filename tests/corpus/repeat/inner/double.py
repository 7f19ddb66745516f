from promptflow.core import tool


@tool
def double(n: int) -> dict:
    return {"value": 2 * n, "done": 2 * n >= 50}
