"""Log accuracy, macro F1 and the scores of every class; return the confusion matrix too."""

from promptflow.core import log_metric, tool

from promptflow_lite.evals.measures import classification_report


@tool
def aggregate(answers: list, ground_truths: list) -> dict:
    if not answers:
        return {}

    labels = [answer.strip().lower() for answer in answers]
    report = classification_report(labels, [truth.strip().lower() for truth in ground_truths])
    log_metric("accuracy", report.accuracy)
    log_metric("macro_f1", report.macro_f1)
    for name, scores in report.classes.items():
        log_metric(f"{name}.precision", scores.precision)
        log_metric(f"{name}.recall", scores.recall)
        log_metric(f"{name}.f1", scores.f1)

    return {"accuracy": report.accuracy, "macro_f1": report.macro_f1, "confusion": report.confusion}
