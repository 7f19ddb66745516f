from promptflow.core import log_metric, tool


@tool
def count(grades: list, answers: list):
    log_metric("accuracy", grades.count("Correct") / max(len(grades), 1))
    return {"n": len(grades), "answers": answers}
