"""Azure AI Content Safety: is a text acceptable in four respects."""

from __future__ import annotations

import enum
from typing import Any

from promptflow_lite.connections import AzureContentSafetyConnection
from promptflow_lite.errors import UserErrorException
from promptflow_lite.tools.builtin.http_json import request_json
from promptflow_lite.tools.decorator import tool

ACCEPT = "Accept"
REJECT = "Reject"


class TextCategorySensitivity(enum.StrEnum):
    """How easily a category rejects a text."""

    DISABLE = "disable"
    LOW_SENSITIVITY = "low_sensitivity"
    MEDIUM_SENSITIVITY = "medium_sensitivity"
    HIGH_SENSITIVITY = "high_sensitivity"


_REJECT_FROM = {
    TextCategorySensitivity.LOW_SENSITIVITY: 6,
    TextCategorySensitivity.MEDIUM_SENSITIVITY: 4,
    TextCategorySensitivity.HIGH_SENSITIVITY: 2,
}
_MEDIUM = TextCategorySensitivity.MEDIUM_SENSITIVITY


@tool
def analyze_text(
    connection: AzureContentSafetyConnection,
    text: str,
    hate_category: TextCategorySensitivity = _MEDIUM,
    sexual_category: TextCategorySensitivity = _MEDIUM,
    self_harm_category: TextCategorySensitivity = _MEDIUM,
    violence_category: TextCategorySensitivity = _MEDIUM,
) -> dict[str, Any]:
    """Whether to accept a text, as a whole and by category."""
    sensitivities = {
        "Hate": _sensitivity(hate_category),
        "SelfHarm": _sensitivity(self_harm_category),
        "Sexual": _sensitivity(sexual_category),
        "Violence": _sensitivity(violence_category),
    }
    severities = _severities(connection, text)
    actions = {
        category: REJECT if severities.get(category, 0) >= _REJECT_FROM.get(sensitivity, 8) else ACCEPT
        for category, sensitivity in sensitivities.items()
    }
    return {"suggested_action": REJECT if REJECT in actions.values() else ACCEPT, "action_by_category": actions}


def _sensitivity(value: str) -> TextCategorySensitivity:
    try:
        return TextCategorySensitivity(value)
    except ValueError as error:
        raise UserErrorException(
            f"Sensitivity {value!r} is unknown.", hint=f"Use one of {', '.join(TextCategorySensitivity)}."
        ) from error


def _severities(connection: AzureContentSafetyConnection, text: str) -> dict[str, int]:
    answer = request_json(
        "Azure Content Safety",
        f"{connection.endpoint.rstrip('/')}/contentsafety/text:analyze",
        query={"api-version": connection.api_version},
        body={"text": text},
        headers={"Ocp-Apim-Subscription-Key": connection.api_key or ""},
        secret=connection.api_key,
    )
    if "categoriesAnalysis" in answer:
        return {item["category"]: int(item["severity"]) for item in answer["categoriesAnalysis"]}

    results = (answer.get(f"{name[0].lower()}{name[1:]}Result") for name in ("Hate", "SelfHarm", "Sexual", "Violence"))
    return {item["category"]: int(item["severity"]) for item in results if item}
