"""Log the win rate of the second answer, and how often the judge followed the position."""

from promptflow.core import log_metric, tool


@tool
def aggregate(scores: list) -> dict:
    if not scores:
        return {}

    metrics = {
        "second_wins": sum(score["second_wins"] for score in scores) / len(scores),
        "flip_rate": sum(score["is_flip"] for score in scores) / len(scores),
    }
    for name, value in metrics.items():
        log_metric(name, value)

    return metrics
