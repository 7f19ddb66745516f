"""The mean grade of the judges that gave one, how far they are apart, and how many gave none."""

from promptflow.core import tool

from promptflow_lite.errors import EvaluatorError
from promptflow_lite.evals.judging import Judgement, expected_grade, vote


@tool
def join_votes(strict: object, fair: object, asker: object) -> dict:
    judgements = [judgement_of(output) for output in (strict, fair, asker)]
    grades = [judgement.grade for judgement in judgements if judgement.grade is not None]
    return {
        "panel_grade": vote(judgements).required(),
        "panel_spread": max(grades) - min(grades),
        "silent_judges": len(judgements) - len(grades),
    }


def judgement_of(output: object) -> Judgement:
    try:
        return Judgement(grade=expected_grade(output))
    except EvaluatorError as error:
        return Judgement(grade=None, problem=error.message)
