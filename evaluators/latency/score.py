"""Was the answer there in time?"""

from promptflow.core import tool


@tool
def score(latency_s: float, limit_s: float) -> dict:
    return {"latency_s": latency_s, "in_time": latency_s <= limit_s}
