from promptflow.core import tool


@tool
def split(text: str) -> dict:
    words = text.split()
    return {"words": words, "size": len(words)}
