"""Count the verdicts and list the sentences behind them."""

from promptflow.core import tool


@tool
def count(sentences: list, verdicts: list) -> dict:
    groups: dict = {"positive": [], "negative": []}
    for sentence, verdict in zip(sentences, verdicts, strict=True):
        groups["negative" if "negative" in verdict.lower() else "positive"].append(sentence)
    return {**groups, "n_positive": len(groups["positive"]), "n_negative": len(groups["negative"])}
