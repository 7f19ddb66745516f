from promptflow.core import tool


@tool
def grade(answer: str, truth: str) -> str:
    if answer == "bad":
        raise ValueError("bad answer")
    return "Correct" if answer == truth else "Incorrect"
