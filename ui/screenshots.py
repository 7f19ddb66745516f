"""Takes the pictures of the documentation: every page, two sizes, light and dark.

    python ui/screenshots.py [--only NAME ...]

A workspace is made from the templates, runs are recorded with the bundled model (or, with `--fake`, with a scripted
one), the studio is started on it, and a headless Chromium looks at every page.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SIZES = {"wide": (1440, 900), "small": (1024, 768)}
SCHEMES = ("light", "dark")
COLOURS = 256
PROMPTY = """\
---
name: Triage
description: Says how urgent a message is.
model:
  api: chat
  parameters:
    temperature: 0
    max_tokens: 24
inputs:
  message:
    type: string
sample:
  message: The app crashes whenever I open the billing page.
---
# system:
Answer in one short sentence: how urgent is the message of this customer, and why?

# user:
{{ message }}
"""


def main() -> None:
    """Make the workspace, start the studio, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="Names of pages.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--fake", action="store_true", help="Answer with a scripted model.")
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), choices=list(SIZES))
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pfl-shots-"))
    os.environ["PFL_HOME"] = str(folder / "home")
    if arguments.fake:
        os.environ["PFL_DEFAULT_MODEL"] = "fake:echo"

    workspace = folder / "my-project"
    workspace.mkdir()
    try:
        fill(workspace)
        shoot(workspace, arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fill(workspace: Path) -> None:
    """Flows, runs of two variants with an evaluator, labels, a connection, and a served flow's traffic."""
    from promptflow_lite.connections import OpenAIConnection
    from promptflow_lite.sdk.studio import (
        BatchPlan,
        EvaluationPlan,
        GridRequest,
        Workspace,
        is_alive,
        start_batch,
        templates,
    )

    space = Workspace(workspace)
    by_name = {card.name: card for card in templates()}
    for name in ("chat", "retrieval", "tool-use", "classification"):
        space.create_from_template(by_name[name].path, name)
    (workspace / "triage.prompty").write_text(PROMPTY, encoding="utf-8")

    flow = workspace / "classification"
    mapping = {"answer": "${run.outputs.label}", "ground_truth": "${data.label}"}
    plan = BatchPlan(
        flow=str(flow),
        data=str(flow / "data.jsonl"),
        mapping={"message": "${data.message}"},
        grid=GridRequest(variants={"classify": ["zero_shot", "few_shot"]}),
        evaluations=[EvaluationPlan(flow=str(ROOT / "evaluators" / "accuracy"), mapping=mapping)],
        name="tickets",
    )
    job = start_batch(space.client, plan)
    while is_alive(job):
        time.sleep(0.3)

    client = space.client
    client.connections.create_or_update(OpenAIConnection(api_key="sk-example", name="open_ai_connection"))
    label_some(client)
    serve_some(client, flow)


def label_some(client: Any) -> None:
    """Two people label a few outputs."""
    runs = ["tickets_00", "tickets_01"]
    for annotator in ("ana", "ben"):
        for number, task in enumerate(client.labels.tasks(runs, annotator=annotator, name="quality", limit=9)):
            is_good = number % 2 == 0 or (annotator == "ben" and number == 3)
            value = "good" if is_good else "bad"
            client.labels.put(task, annotator=annotator, name="quality", value=value)


def serve_some(client: Any, flow: Path) -> None:
    """Requests of an endpoint, as a server records them."""
    from promptflow_lite.records import DeploymentSpec, EndpointSpec, NodeResult, ServedRequest, Status

    deployments = (
        DeploymentSpec(name="blue", flow=str(flow), variant="${classify.zero_shot}", weight=80),
        DeploymentSpec(name="green", flow=str(flow), variant="${classify.few_shot}", weight=20, mirror_fraction=0.5),
    )
    client.store.endpoints.put(EndpointSpec(name="tickets", deployments=deployments))
    now = time.time()
    requests = []
    for number in range(60):
        start = now - 1800 + number * 30
        ms = 140 + (number * 37 % 90) + (240 if number % 17 == 0 else 0)
        times = {"start_time": start, "end_time": start + ms / 1000}
        node = NodeResult("classify", Status.COMPLETED, {"message": "…"}, "billing", **times)
        requests.append(
            ServedRequest(
                request_id=f"req-{number:03}", endpoint="tickets", deployment="green" if number % 5 == 0 else "blue",
                start_time=start, duration_ms=ms, inputs={"message": f"Where is my refund for order {4100 + number}?"},
                output={"label": "billing"}, status_code=500 if number == 41 else 200, nodes=[node],
                error={"message": "The model took too long."} if number == 41 else None, prompt_tokens=48,
                completion_tokens=2,
            )
        )  # fmt: skip
    client.store.requests.add(requests)


# --- pages and what to do on them before the picture ---------------------------------------------------------------


def click_first_row(page: Any) -> None:
    """Select the first row of the first table."""
    page.locator(".dvn-scroller").first.click(position={"x": 18, "y": 58})


def run_author(page: Any) -> None:
    """Run the flow and select a node."""
    page.get_by_role("button", name="Run flow").click()
    page.locator('.react-flow__node[data-id="clean"] .is-Completed').wait_for(timeout=60_000)
    page.wait_for_timeout(800)
    page.locator('.react-flow__node[data-id="classify"]').click()


def break_author(page: Any) -> None:
    """Feed a node from nowhere, and show the problems."""
    field = page.get_by_label("clean input answer").first
    field.fill("${classfy.output}")
    field.press("Enter")
    page.wait_for_timeout(900)
    page.get_by_role("tab", name="Problems").click()


def run_variants(page: Any) -> None:
    """Run every variant on the first row."""
    page.get_by_role("button", name="Run all").click()
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Run all").wait_for(timeout=60_000)


def run_prompty(page: Any) -> None:
    """Run the prompty and show what was asked."""
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("[data-testid=stCode]:visible").first.wait_for(timeout=60_000)


def say_something(page: Any) -> None:
    """One turn of a conversation."""
    page.get_by_placeholder("Message").fill("What is the capital of France?")
    page.keyboard.press("Enter")
    page.locator("[data-testid=stExpander]").first.wait_for(timeout=60_000)


def choose_evaluator(page: Any) -> None:
    """Choose what judges the outputs."""
    page.get_by_role("combobox", name="Evaluators").click()
    page.get_by_role("option", name="Accuracy").first.click()
    page.keyboard.press("Escape")


PAGES: dict[str, tuple[str, Callable[[Any], None] | None]] = {
    "home": ("", None),
    "author": ("author?flow=classification", run_author),
    "author-graph": ("author?flow=tool-use", lambda page: page.get_by_text("Graph", exact=True).click()),
    "author-problem": ("author?flow=classification", break_author),
    "author-prompty": ("author?flow=triage.prompty", run_prompty),
    "variants": ("variants?flow=classification&node=classify", run_variants),
    "batch": ("batch?flow=classification", choose_evaluator),
    "runs": ("runs", click_first_row),
    "run": ("run?run=tickets_01", click_first_row),
    "compare": ("compare?runs=tickets", None),
    "annotate": ("annotate?run=tickets_00", None),
    "chat": ("chat?flow=chat", say_something),
    "models": ("models", None),
    "connections": ("connections", click_first_row),
    "endpoints": ("endpoints", None),
}


def shoot(workspace: Path, arguments: argparse.Namespace) -> None:
    """Open every page in every size and colour scheme and save what it looks like."""
    from playwright.sync_api import sync_playwright

    from tests.support.studio import CHROMIUM_FLAGS, Studio, chromium

    arguments.out.mkdir(parents=True, exist_ok=True)
    studio = Studio(workspace)
    flow = workspace / "classification" / "flow.dag.yaml"
    intact = flow.read_text(encoding="utf-8")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_FLAGS)
            for size in arguments.sizes:
                for scheme in SCHEMES:
                    for name in arguments.only or PAGES:
                        target = arguments.out / f"{name}-{size}-{scheme}.png"
                        picture(browser, studio.url, name, size, scheme, target)
                        flow.write_text(intact, encoding="utf-8")
            browser.close()
    finally:
        studio.close()


def picture(browser: Any, url: str, name: str, size: str, scheme: str, target: Path) -> None:
    """One picture, in few colours to keep it small."""
    from PIL import Image

    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    path, prepare = PAGES[name]
    page.goto(f"{url}/{path}")
    settle(page)
    if prepare:
        prepare(page)
        settle(page)
    page.mouse.move(5, height - 5)
    page.wait_for_timeout(700)
    page.screenshot(path=str(target))
    page.close()
    with Image.open(target) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


def settle(page: Any) -> None:
    """Wait until the page has drawn what the server sent."""
    page.wait_for_timeout(300)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=30_000)
    page.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton]')", timeout=30_000)
    page.wait_for_timeout(900)


if __name__ == "__main__":
    main()
