"""Chat in the studio: text and images in the flow's format, and conversations that become data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptflow_lite.records import Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.runs import RunRequest
from promptflow_lite.sdk.studio import ChatShape, chat_message, chat_shape, history, message_parts, save_conversation
from tests.support.studio import Studio, Watched
from tests.ui.test_pages import open_page, texts

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fccfc0500f00048401"
    "8084a98c210000000049454e44ae426082"
)
FLOW = """
{extra}
inputs:
  chat_history: {{type: list, default: []}}
  question: {{type: list, is_chat_input: true}}
outputs:
  answer: {{type: string, reference: "${{look.output}}", is_chat_output: true}}
nodes:
- name: look
  type: python
  source: {{type: code, path: look.py}}
  inputs: {{question: "${{inputs.question}}", chat_history: "${{inputs.chat_history}}"}}
"""
LOOK = """
from promptflow_lite import tool
from promptflow.contracts.multimedia import Image

@tool
def look(question: list, chat_history: list) -> str:
    images = [part for part in question if isinstance(part, Image)]
    before = [part for turn in chat_history for part in turn["inputs"]["question"] if isinstance(part, Image)]
    words = [str(part) for part in question if not isinstance(part, Image)]
    sizes = [(image.mime_type if hasattr(image, "mime_type") else "", len(image)) for image in images]
    return f"{len(images)} images {sizes}, {len(before)} before, asked {' '.join(words)}"
"""


@pytest.fixture(params=["basic", "openai-vision"])
def image_flow(request: pytest.FixtureRequest, workspace_folder: Path) -> Path:
    folder = workspace_folder / "pictures"
    folder.mkdir()
    extra = "" if request.param == "basic" else "message_format: openai-vision"
    (folder / "flow.dag.yaml").write_text(FLOW.format(extra=extra))
    (folder / "look.py").write_text(LOOK)
    return folder


def shape_of(flow: Path) -> ChatShape:
    found = chat_shape(flow)
    assert found is not None
    return found


def test_an_image_reaches_the_flow_in_its_own_format(image_flow: Path) -> None:
    shape = shape_of(image_flow)
    message = chat_message(shape, "what is this?", [PNG])

    with Client() as client:
        tested = client.flows.test(image_flow, inputs={"question": json.loads(json.dumps(message)), "chat_history": []})

    assert tested.output == {"answer": f"1 images [('image/png', {len(PNG)})], 0 before, asked what is this?"}
    kinds = {"basic": str, "openai-vision": dict}
    assert isinstance(message[0], kinds[shape.message_format])


def test_texts_and_images_of_a_message_are_shown_in_order(image_flow: Path) -> None:
    shape = shape_of(image_flow)

    parts = message_parts(shape, chat_message(shape, "look", [PNG, PNG]), image_flow)

    assert parts == ["look", PNG, PNG]
    assert message_parts(shape, "a plain answer", image_flow) == ["a plain answer"]
    assert message_parts(shape, None, image_flow) == []


def test_an_image_elsewhere_is_not_fetched(image_flow: Path) -> None:
    shape = shape_of(image_flow)
    address = "https://example.org/cat.png"
    basic, vision = {"data:image/png;url": address}, {"type": "image_url", "image_url": {"url": address}}

    message = [basic if shape.message_format == "basic" else vision]

    assert message_parts(shape, message, image_flow) == [address]


def test_a_conversation_with_images_becomes_rows_that_run(image_flow: Path) -> None:
    shape = shape_of(image_flow)
    turns: list[tuple[Any, Any]] = [
        (chat_message(shape, "what is this?", [PNG]), "a dot"),
        (chat_message(shape, "are you sure?"), "yes"),
    ]

    file = save_conversation(shape, turns, image_flow)

    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["answer"] for row in rows] == ["a dot", "yes"]
    assert len(file.read_text()) < 2000, "images are files beside the rows"
    assert [path.read_bytes() for path in (image_flow / "chat_images").iterdir()] == [PNG]
    mapping = {"question": "${data.question}", "chat_history": "${data.chat_history}"}
    with Client() as client:
        run = client.runs.create(RunRequest(flow=image_flow, data=file, column_mapping=mapping, name="rows"))
        answers = [line.output["answer"] for line in client.runs.lines("rows") if line.output]
    assert run.status is Status.COMPLETED
    assert answers[0] == f"1 images [('image/png', {len(PNG)})], 0 before, asked what is this?"
    assert answers[1] == "0 images [], 1 before, asked are you sure?"


def test_a_flow_that_takes_text_gets_text() -> None:
    shape = ChatShape(question="q", answer="a", history="h", takes_list=False, message_format="basic")

    assert chat_message(shape, "hello") == "hello"
    assert history(shape, [("hello", "hi")]) == [{"inputs": {"q": "hello"}, "outputs": {"a": "hi"}}]


def test_the_page_answers_with_the_chosen_flow(image_flow: Path) -> None:
    at = open_page("chat", flow="pictures")

    at.chat_input[0].set_value("hello there").run()

    assert not at.exception
    assert "0 images [], 0 before, asked hello there" in texts(at)


@pytest.mark.browser
def test_an_image_is_uploaded_sent_shown_and_saved(
    image_flow: Path, studio: Studio, watched: Watched, tmp_path: Path
) -> None:
    picture = tmp_path / "dot.png"
    picture.write_bytes(PNG)
    page = watched.page
    page.goto(f"{studio.url}/chat?flow=pictures")
    page.get_by_placeholder("Message").wait_for()

    page.locator("[data-testid=stChatInput] input[type=file]").set_input_files(str(picture))
    page.get_by_text("dot.png").wait_for()
    page.get_by_placeholder("Message").fill("what is this?")
    page.locator("[data-testid=stChatInputSubmitButton]:not([disabled])").click()

    page.get_by_text(f"1 images [('image/png', {len(PNG)})], 0 before, asked what is this?").first.wait_for()
    watched.settle()
    image = page.locator("[data-testid=stChatMessage] img").first
    image.wait_for()
    assert image.evaluate("img => img.complete && img.naturalWidth") == 1

    page.get_by_placeholder("Message").fill("and now?")
    page.keyboard.press("Enter")
    page.get_by_text("0 images [], 1 before, asked and now?").first.wait_for()
    watched.settle()
    page.get_by_role("button", name="Save as rows").click()
    page.get_by_text("Saved to chat_rows.jsonl").wait_for()
    assert len((image_flow / "chat_rows.jsonl").read_text().splitlines()) == 2
    assert watched.foreign == []
    assert watched.complaints == []
