"""Does a regular expression fit the answer?"""

from promptflow.core import tool

from promptflow_lite.evals.measures import matches


@tool
def score(answer: str, pattern: str) -> dict:
    return {"regex_match": matches(answer, pattern)}
