from promptflow.core import tool


calls = []


@tool
def try_it(fail: int) -> int:
    calls.append(1)
    if len(calls) <= fail:
        raise OSError("not yet")
    return len(calls)
