"""Ask about every point on its own; a yes-or-no question is what small models answer best."""

from promptflow.core import tool

from promptflow_lite.evals.judging import Judge, chat, default_judge

SYSTEM = "You check whether an answer meets a requirement. Answer with yes or no."


@tool
def check(checks: list, question: str, answer: str) -> dict:
    judge = default_judge()
    shares = {point: _share(judge, _ask(point, question, answer)) for point in checks}
    return {"checklist_share": sum(shares.values()) / len(shares), "checks": shares}


def _share(judge: Judge, question: str) -> float:
    return judge.share_of("yes", ("yes", "no"), chat(SYSTEM, question))


def _ask(point: str, question: str, answer: str) -> str:
    return f"Question: {question}\nAnswer: {answer}\nRequirement: {point}\nDoes the answer meet the requirement?"
