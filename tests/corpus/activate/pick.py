from promptflow.core import tool


@tool
def pick(first="no first", second="no second"):
    return [first, second]
