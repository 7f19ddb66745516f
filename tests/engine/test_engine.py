"""The engine on a real model: counted tokens, adapters, forks, back-pressure, closing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptflow_lite.catalog import resolve_model
from promptflow_lite.engine import Engine, EngineSettings, Generation, close_engines, shared_engine
from promptflow_lite.engine.bindings import LlamaContext
from promptflow_lite.engine.sampling import SamplerFactory, SamplingSettings
from promptflow_lite.errors import (
    EngineBusyError,
    EngineClosedError,
    EngineRequestError,
    EngineTimeoutError,
    ModelLoadError,
)
from tests.support.tiny_gguf import write_gguf

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]

GREEDY = SamplingSettings(temperature=0.0)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(resolve_model(), EngineSettings(n_cells=1024, max_waiting=40))
    yield engine
    engine.close()


def run(engine: Engine, request: Generation) -> str:
    return "".join(getattr(event, "text", "") for event in engine.generate(request))


def test_evaluated_tokens_are_the_minimum_of_the_prefix_tree(engine: Engine) -> None:
    prefix = engine.tokenize_text("Zebras and foxes jump over the lazy dog near the river bank. " * 3)
    prompts = [[*prefix, 700 + k, 800 + k] for k in range(12)]
    before = engine.stats

    tickets = [engine.generate(Generation(tokens=prompt, sampling=GREEDY, max_tokens=1)) for prompt in prompts]
    for ticket in tickets:
        list(ticket)

    assert engine.stats.evaluated_tokens - before.evaluated_tokens == len(prefix) + 2 * len(prompts)


def test_choices_evaluate_unshared_tokens_once_and_generate_nothing(engine: Engine) -> None:
    prompt = engine.tokenize_text("Italy has a capital, which is called")
    before = engine.stats

    scores, _ = engine.score_choices(prompt, [" Rome", " Paris", " New York", " New Orleans"])

    after = engine.stats
    assert scores.index(max(scores)) == 0
    assert after.generated_tokens == before.generated_tokens
    assert after.evaluated_tokens - before.evaluated_tokens == len(prompt) + 1


def adapter_file(path: Path, strength: float) -> str:
    """A LoRA adapter that shifts the first layer's queries."""
    draw = np.random.default_rng(1)
    metadata: dict[str, Any] = {
        "general.type": "adapter",
        "general.architecture": "llama",
        "adapter.type": "lora",
        "adapter.lora.alpha": 4.0,
    }
    tensors = {}
    for layer in range(30):
        tensors[f"blk.{layer}.attn_q.weight.lora_a"] = draw.normal(0, strength, (4, 576))
        tensors[f"blk.{layer}.attn_q.weight.lora_b"] = draw.normal(0, strength, (576, 4))
    return str(write_gguf(path, metadata, tensors))


def test_adapter_changes_its_own_rows_only(engine: Engine, tmp_path: Path) -> None:
    adapter = adapter_file(tmp_path / "style.gguf", 0.5)
    request = Generation(tokens=engine.tokenize_text("Once upon a time"), sampling=GREEDY, max_tokens=4)
    adapted = dataclasses.replace(request, adapter=adapter)
    plain_alone, adapted_alone = run(engine, request), run(engine, adapted)

    tickets = [engine.generate(wanted) for wanted in (request, adapted, request, adapted)]
    texts = ["".join(getattr(event, "text", "") for event in ticket) for ticket in tickets]

    assert plain_alone != adapted_alone
    assert texts[0] == texts[2] == plain_alone
    assert texts[1] == texts[3] != plain_alone


def test_unreadable_adapter_fails_its_request(engine: Engine, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"nothing")

    with pytest.raises(ModelLoadError, match=r"bad\.gguf"):
        run(engine, Generation(tokens=[5], sampling=GREEDY, max_tokens=1, adapter=str(bad)))


def test_timeout_gives_up_and_frees_the_row(engine: Engine) -> None:
    with pytest.raises(EngineTimeoutError):
        run(engine, Generation(tokens=[5, 6], sampling=GREEDY, max_tokens=900, timeout_s=0.1))

    assert run(engine, Generation(tokens=[5, 6], sampling=GREEDY, max_tokens=1)) is not None


def test_full_queue_is_refused_with_need_and_have(engine: Engine) -> None:
    with pytest.raises(EngineBusyError) as caught:
        engine.generate(Generation(tokens=[5], sampling=GREEDY, max_tokens=1, n=41))

    assert caught.value.retryable
    assert caught.value.facts["need"] == 41


def test_same_seed_draws_the_same_tokens_from_the_same_logits(engine: Engine) -> None:
    sampling = SamplingSettings(temperature=1.2, top_k=40, top_p=0.95, min_p=0.02, frequency_penalty=0.3, seed=11)
    steps = np.random.default_rng(3).normal(size=(8, engine.model.n_vocab)).astype(np.float32)

    def draw(seed: int) -> list[int]:
        sampler = SamplerFactory(engine.model).build(dataclasses.replace(sampling, seed=seed))
        tokens = [sampler.pick(logits) for logits in steps]
        sampler.close()
        return tokens

    assert draw(11) == draw(11) != draw(12)


def test_broken_file_says_why(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\1" * 200)

    with pytest.raises(ModelLoadError, match=r"broken\.gguf"):
        Engine(path)


def test_library_writes_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    engine = Engine(resolve_model(), EngineSettings(n_cells=256))
    run(engine, Generation(tokens=[5, 6, 7], sampling=GREEDY, max_tokens=2))
    engine.close()

    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_engine_is_shared_closed_and_loaded_again() -> None:
    settings = EngineSettings(n_cells=512)
    first = shared_engine(resolve_model(), settings)

    assert shared_engine(resolve_model(), settings) is first
    close_engines()
    with pytest.raises(EngineClosedError):
        run(first, Generation(tokens=[5], sampling=GREEDY, max_tokens=1))
    assert shared_engine(resolve_model(), settings) is not first
    close_engines()


def test_rewritten_weights_answer_as_those_of_the_file(engine: Engine) -> None:
    prompt, labels = engine.tokenize_text("The capital of France is"), [" Paris", " Rome", " a", " the"]
    own = Engine(engine.path, EngineSettings(n_cells=256, weights="file"))
    expected, _ = own.score_choices(prompt, labels)
    fingerprint = own.fingerprint
    own.close()

    scores, _ = engine.score_choices(prompt, labels)

    changed = {name for name, value in engine.fingerprint.items() if value != fingerprint[name]}
    assert changed == {"weights"}
    assert engine.fingerprint["weights"].startswith("rewritten")
    assert np.allclose(scores, expected, atol=1.0)


def test_unknown_treatment_of_weights_is_refused() -> None:
    with pytest.raises(EngineRequestError, match="q9_0"):
        Engine(resolve_model(), EngineSettings(weights="q9_0"))


def test_rows_that_fill_a_step_leave_no_cells_behind(engine: Engine) -> None:
    context = LlamaContext(engine.model, EngineSettings(n_cells=256, step_tokens=8), n_sequences=8)
    context.decode([10, 11, 12], [0, 0, 0], [0, 1, 2], [0, 1, 2])
    furthest = [int(context.library.llama_memory_seq_pos_max(context._memory, seq)) for seq in range(9)]
    context.close()

    assert furthest == [0, 0, 0, *[-1] * 6]


def test_fingerprint_names_everything_that_determines_answers(engine: Engine) -> None:
    fingerprint = engine.fingerprint

    assert fingerprint["quantisation"] == "Q4_1"
    assert len(fingerprint["sha256"]) == len(fingerprint["template_sha256"]) == 64
    assert fingerprint["mode"] == "fast"


def test_forked_child_loads_an_engine_of_its_own() -> None:
    from promptflow_lite.engine import loaded_engines
    from promptflow_lite.engine.engine import _forget_after_fork

    shared_engine(resolve_model(), EngineSettings(n_cells=256))
    kept = loaded_engines()

    _forget_after_fork()

    assert loaded_engines() == []
    for engine in kept:
        engine.close()
