"""Messages of a conversation: text and images in the format of the flow, to send, to show and to keep as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptflow_lite.flow import Image, Text, load_media, media_to_json, persist_media
from promptflow_lite.sdk.studio.forms import ChatShape

ROWS_FILE = "chat_rows.jsonl"
_IMAGES_FOLDER = "chat_images"


def chat_message(shape: ChatShape, text: str, images: Sequence[bytes] = ()) -> Any:
    """What the chat input gets: a text, or a list of text and images where the flow takes one."""
    if not shape.takes_list:
        return text

    if shape.message_format == "openai-vision":
        texts: list[Any] = [{"type": "text", "text": text}] if text else []
    else:
        texts = [text] if text else []
    return media_to_json([*texts, *(Image(content) for content in images)], shape.message_format)


def message_parts(shape: ChatShape, value: Any, folder: Path) -> list[str | bytes]:
    """The texts and images of a message, to be shown; an image elsewhere is shown as its address."""
    if value is None:
        return []

    loaded = load_media(value, root=folder, message_format=shape.message_format, fetch_urls=False)
    parts: list[str | bytes] = []
    for part in loaded if isinstance(loaded, list) else [loaded]:
        if isinstance(part, Image):
            parts.append(bytes(part) or str(part.source_url))
        elif isinstance(part, Mapping):
            parts.append(json.dumps(part, ensure_ascii=False))
        else:
            parts.append(str(part) if isinstance(part, str | Text) else json.dumps(part, ensure_ascii=False))
    return parts


def save_conversation(shape: ChatShape, turns: Sequence[tuple[Any, Any]], folder: Path) -> Path:
    """Append the questions of a conversation, what was said before each, and its answer to a data file of the flow.

    Images become files beside it, so that rows stay short.
    """
    rows = []
    for number, (question, answer) in enumerate(turns):
        row = {shape.question: question, "answer": answer}
        if shape.history:
            row[shape.history] = history(shape, turns[:number])
        rows.append(_with_files(shape, row, folder))
    file = folder / ROWS_FILE
    with file.open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return file


def history(shape: ChatShape, turns: Sequence[tuple[Any, Any]]) -> list[dict[str, Any]]:
    """Turns as a flow's chat history wants them."""
    return [{"inputs": {shape.question: question}, "outputs": {shape.answer: answer}} for question, answer in turns]


def _with_files(shape: ChatShape, row: dict[str, Any], folder: Path) -> Any:
    loaded = load_media(row, root=folder, message_format=shape.message_format, fetch_urls=False)
    return persist_media(loaded, folder / _IMAGES_FOLDER, relative_to=folder, message_format=shape.message_format)
