"""Is the answer JSON, and does it fit a schema?"""

from promptflow.core import tool

from promptflow_lite.evals.measures import check_json


@tool
def score(answer: str, schema: str) -> dict:
    check = check_json(answer, schema)
    return {"is_json": check.is_valid, "fits_schema": check.fits_schema, "problem": check.problem}
