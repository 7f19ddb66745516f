from promptflow.core import tool


@tool
def letters(text: str):
    for letter in text:
        yield letter + "."
