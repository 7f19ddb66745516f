"""Log the means over the rows that have a vote; without one, nothing is logged."""

from promptflow.core import log_metric, tool


@tool
def aggregate(votes: list) -> dict:
    metrics = {}
    for name in ("panel_grade", "panel_spread", "silent_judges"):
        values = [float(vote[name]) for vote in votes if vote is not None]
        if values:
            metrics[name] = sum(values) / len(values)
            log_metric(name, metrics[name])

    return metrics
