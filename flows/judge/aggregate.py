"""Log the mean grade and the share of answers that contain the reference."""

from promptflow.core import log_metric, tool


@tool
def aggregate(results: list) -> dict:
    metrics = {
        "grade": sum(result["grade"] for result in results) / max(len(results), 1),
        "contains_truth": sum(result["contains_truth"] for result in results) / max(len(results), 1),
    }
    for name, value in metrics.items():
        log_metric(name, value)
    return metrics
