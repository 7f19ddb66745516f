"""What the engine's benchmarks share: prompts, clocks, a recorded schedule and its raw replay."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptflow_lite.catalog import resolve_model
from promptflow_lite.engine import Engine, EngineSettings, Generation
from promptflow_lite.engine.bindings import LlamaContext, LlamaModel
from promptflow_lite.engine.sampling import SamplingSettings
from promptflow_lite.engine.scheduler import n_sequences
from promptflow_lite.engine.step import StepPlan

GREEDY = SamplingSettings(temperature=0.0)


@dataclass
class Timing:
    """Wall and processor seconds; on a machine with other work the processor's are the fairer ones."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def ratio(self, other: Timing, scale: float = 1.0) -> dict[str, float]:
        """How many times longer the other took, for `scale` times its work."""
        return {
            "wall": round(other.wall_s * scale / self.wall_s, 3),
            "cpu": round(other.cpu_s * scale / self.cpu_s, 3),
        }

    def to_dict(self) -> dict[str, float]:
        return {"wall_s": round(self.wall_s, 2), "cpu_s": round(self.cpu_s, 2)}


@contextmanager
def timed(timing: Timing) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    timing.wall_s += time.perf_counter() - wall
    timing.cpu_s += time.process_time() - cpu


def parser(description: str) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--model", help="Catalogue name or GGUF file.")
    result.add_argument("--threads", type=int, default=0, help="0 takes every core; 1 makes processor time exact.")
    result.add_argument("--weights", default="auto", help="`file` leaves the weights as they are in the file.")
    return result


def read_rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def words(engine: Engine, n_tokens: int, seed: int) -> list[int]:
    """Tokens of plain words, different for each seed."""
    draw = random.Random(seed)
    vocabulary = [" alpha", " river", " seven", " green", " stone", " market", " window", " paper", " quiet", " north"]
    tokens: list[int] = []
    while len(tokens) < n_tokens:
        tokens += engine.model.tokenize(draw.choice(vocabulary), parse_special=False)
    return tokens[:n_tokens]


def drain(engine: Engine, requests: Sequence[Generation]) -> list[str]:
    """All requests at once; their texts in order."""
    tickets = [engine.generate(request) for request in requests]
    return ["".join(getattr(event, "text", "") for event in ticket) for ticket in tickets]


def open_engine(args: argparse.Namespace, **changes: Any) -> Engine:
    return Engine(
        resolve_model(args.model),
        EngineSettings(n_threads=args.threads, weights=args.weights, **changes),
    )


def record_schedule(engine: Engine) -> list[StepPlan]:
    """Every step the engine performs from now on."""
    plans: list[StepPlan] = []
    perform: Callable[[StepPlan], None] = engine._worker._perform

    def recording(plan: StepPlan) -> None:
        plans.append(plan)
        perform(plan)

    engine._worker._perform = recording  # type: ignore[method-assign]
    return plans


def replay(engine: Engine, plans: Sequence[StepPlan]) -> Timing:
    """The floor: the same decode calls on a fresh context, with nothing around them in the time."""
    model = LlamaModel(engine.model.path, engine.settings, engine.model.correction)
    context = LlamaContext(model, engine.settings, n_sequences=n_sequences(engine.settings))
    floor = Timing()
    for plan in plans:
        context.perform(plan.operations)
        if plan.tokens:
            indices = sorted({output.index for output in plan.outputs})
            with timed(floor):
                context.decode(plan.tokens, plan.positions, plan.seqs, indices)
    context.close()
    model.close()
    return floor


def open_llama(engine: Engine, args: argparse.Namespace) -> Any:
    """The usual Python way: `llama_cpp.Llama`, one sequence."""
    import llama_cpp

    threads = args.threads or None
    return llama_cpp.Llama(
        str(engine.path), n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False, seed=0
    )


def trie_size(prompts: list[list[int]]) -> int:
    """Distinct prefixes: the fewest tokens that can be evaluated."""
    root: dict[int, Any] = {}
    count = 0
    for prompt in prompts:
        node = root
        for token in prompt:
            if token not in node:
                node[token] = {}
                count += 1
            node = node[token]
    return count


def report(name: str, **figures: Any) -> None:
    print(json.dumps({"benchmark": name, **figures}, indent=2))
