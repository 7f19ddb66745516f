from promptflow.contracts.multimedia import Image
from promptflow.core import tool


@tool
def measure(picture: Image, items: list):
    return {"bytes": len(picture), "type": picture._mime_type, "items": [type(item).__name__ for item in items]}
