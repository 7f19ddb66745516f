from promptflow.core import log_metric, tool


@tool
def report(counts):
    log_metric("n", counts["n"])
    log_metric("distinct", len(set(counts["answers"])))
