"""Log the share in time and the 50th and 95th percentile."""

from promptflow.core import log_metric, tool

from promptflow_lite.evals.measures import quantile


@tool
def aggregate(scores: list) -> dict:
    times = [score["latency_s"] for score in scores]
    if not times:
        return {}

    metrics = {
        "in_time": sum(score["in_time"] for score in scores) / len(scores),
        "latency_p50_s": quantile(times, 0.5),
        "latency_p95_s": quantile(times, 0.95),
    }
    for name, value in metrics.items():
        log_metric(name, value)

    return metrics
