"""What did the tokens of a row cost?"""

from promptflow.core import tool


@tool
def score(prompt_tokens: int, completion_tokens: int, prompt_price: float, completion_price: float) -> dict:
    return {"cost": (prompt_tokens * prompt_price + completion_tokens * completion_price) / 1_000_000}
