from enum import StrEnum
from pathlib import Path

from promptflow.contracts.types import FilePath, Secret
from promptflow.core import tool


class Style(StrEnum):
    LOUD = "loud"
    QUIET = "quiet"


@tool
def use(text: str, style: Style, file: FilePath, secret: Secret, limit: int = 2, anything=None):
    words = Path(file).read_text().split()[:limit]
    return [text, str(style), words, len(secret), anything]
