"""Put the two orders together; a judge that follows the position instead of the answer makes a tie."""

from promptflow.core import tool

from promptflow_lite.evals.judging import combine_orders


@tool
def combine(forward: object, backward: object) -> dict:
    result = combine_orders(forward, backward)
    return {
        "second_wins": result.score,
        "preference": result.preference,
        "p_second": result.p_second,
        "is_flip": result.is_flip,
    }
