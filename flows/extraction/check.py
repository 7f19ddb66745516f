"""Parse the answer and note which of its values the e-mail really contains."""

import json

from promptflow.core import tool


@tool
def check(text: str, email: str) -> dict:
    order = json.loads(text) if isinstance(text, str) else text
    source = email.lower()
    order["found"] = sorted(key for key, value in order.items() if str(value).lower() in source)
    return order
