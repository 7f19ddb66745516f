"""The engine as others see it: submit token prompts, read events, ask what it is.

Thread: every method may be called from any thread.
"""

from __future__ import annotations

import atexit
import dataclasses
import hashlib
import math
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from promptflow_lite._utils.hashing import file_digest
from promptflow_lite.engine.chat import ChatTemplate
from promptflow_lite.engine.choices import LabelTree, build_label_tree, score_labels
from promptflow_lite.engine.detokenize import TextAssembler
from promptflow_lite.engine.scheduler import Planner, Scheduler, check_fits
from promptflow_lite.engine.scheduler import n_sequences as n_shared_sequences
from promptflow_lite.engine.settings import EMBEDDING_TOKENS, EngineSettings
from promptflow_lite.engine.step import EngineStats, Row
from promptflow_lite.engine.streams import PIECE, StreamScheduler
from promptflow_lite.engine.worker import Delta, Event, Finished, Job, Scored, TokenChoice, Worker
from promptflow_lite.errors import EngineBusyError, EngineClosedError, EngineRequestError, EngineTimeoutError

if TYPE_CHECKING:
    from promptflow_lite.engine.bindings import EmbeddingContext, LlamaModel
    from promptflow_lite.engine.sampling import SamplingSettings

_POOL_FRACTION = 0.25
"""Part of the machine's memory that KV cells may take by default."""
_POOL_CELLS = 8192
"""Cells by default when memory allows and the model's context is not longer."""
_STREAM_CELLS = 2048
"""Cells of a row's stream in reproducible mode, unless told."""
_WEIGHTS = ("auto", "file")
_IDLE_STREAMS = 4
"""Streams beyond the running rows that keep prompts to copy from."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What to generate from one prompt."""

    tokens: Sequence[int]
    sampling: SamplingSettings
    max_tokens: int | None = None
    """None takes the engine's default, or less where the context ends before."""
    n: int = 1
    stop: tuple[str, ...] = ()
    n_logprobs: int | None = None
    """Alternatives to report beside each token; None reports no log probabilities."""
    is_streamed: bool = False
    adapter: str = ""
    caller: str = ""
    timeout_s: float | None = None


class Ticket:
    """A running request: its events in order, and the way to give it up. Iterating ends with the last sample."""

    def __init__(self, worker: Worker, jobs: list[Job], events: SimpleQueue[Event], deadline: float) -> None:
        self._worker = worker
        self._jobs = jobs
        self._events = events
        self._deadline = deadline
        self._n_open = len(jobs)

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Delta | Finished | Scored]:
        try:
            while self._n_open:
                event = self._next()
                if isinstance(event, BaseException):
                    raise event

                if not isinstance(event, Delta):
                    self._n_open -= 1
                yield event
        finally:
            self.cancel()

    def _next(self) -> Event:
        if self._deadline == math.inf:
            return self._events.get()

        try:
            return self._events.get(timeout=max(self._deadline - time.monotonic(), 0.0) + 5.0)
        except Empty:
            raise EngineTimeoutError("The local model did not answer in time.", hint="Raise the timeout.") from None

    def abandon(self) -> None:
        """Give the request up from another thread than the one that reads it; that one gets `EngineClosedError`."""
        self._worker.cancel(self._jobs)
        self._events.put(EngineClosedError("The request was given up."))

    def cancel(self) -> None:
        """Give up what is not finished; harmless afterwards."""
        if self._n_open:
            self._n_open = 0
            self._worker.cancel(self._jobs)


class Engine:
    """One loaded model, shared by all callers of a process; use `shared_engine` to get one.

    Args:
        path: A GGUF file.
        settings: Pool sizes and mode.
    """

    def __init__(self, path: Path, settings: EngineSettings | None = None) -> None:
        from promptflow_lite.engine import bindings
        from promptflow_lite.engine.sampling import SamplerFactory

        self.path = path
        self.model = _load_model(path, settings or EngineSettings())
        self.settings = _resolve(settings or EngineSettings(), self.model)
        self._context = bindings.LlamaContext(self.model, self.settings, n_sequences=_n_sequences(self.settings))
        self._samplers = SamplerFactory(self.model)
        self._seeds = random.Random()
        self._is_closed = False
        self._embeddings: EmbeddingContext | None = None
        self._worker = Worker(
            self._context,
            self._new_planner,
            piece=self.model.piece,
            end_tokens=self.model.end_tokens,
            n_cells=self.settings.n_cells,
        )

    def _new_planner(self) -> Planner:
        if not self.settings.reproducible:
            return Scheduler(self.settings, n_ctx_row=self.n_ctx, allow_partial=self._context.allow_partial)

        return StreamScheduler(
            self.settings,
            n_streams=_n_sequences(self.settings),
            n_ctx_row=self.n_ctx,
            n_together=self.settings.max_rows if self._rows_together else 1,
        )

    @cached_property
    def _rows_together(self) -> bool:
        return self._context.probe_rows_together(min(self.settings.max_rows, 6))

    @property
    def n_ctx(self) -> int:
        """Most tokens of one request, prompt and answer together."""
        n_cells = self.settings.row_cells if self.settings.reproducible else self.settings.n_cells
        return min(n_cells, self.model.n_ctx_train or n_cells)

    @property
    def stats(self) -> EngineStats:
        return dataclasses.replace(self._worker.stats)

    @cached_property
    def template(self) -> ChatTemplate:
        return ChatTemplate(
            self.model.metadata.get("tokenizer.chat_template", ""),
            bos=self.model.special_text("bos"),
            eos=self.model.special_text("eos"),
        )

    def tokenize_chat(self, messages: Sequence[Any], tools: Sequence[Any] = ()) -> list[int]:
        """Messages in the model's template, as tokens."""
        text = self.template.render(messages, tools)
        bos = self.model.special_text("bos")
        return self.model.tokenize(text, add_special=not (bos and text.startswith(bos)))

    def tokenize_text(self, text: str) -> list[int]:
        """A plain prompt as tokens; never empty."""
        tokens = self.model.tokenize(text, add_special=True, parse_special=False)
        return tokens or [max(int(self.model.library.llama_vocab_bos(self.model.vocabulary)), 0)]

    # --- requests ------------------------------------------------------------------------------------------------

    def generate(self, request: Generation) -> Ticket:
        """Start generating.

        Raises:
            ContextFullError: prompt and answer together can never fit.
            EngineBusyError: too many rows wait already.
            GrammarError: the grammar cannot be compiled.
        """
        self._check_queue(request.n)
        n_new = self._n_new(request)
        events: SimpleQueue[Event] = SimpleQueue()
        deadline = _deadline(request.timeout_s)
        check_fits(
            Row(caller="", tokens=list(request.tokens), n_new=n_new),
            n_cells=self.settings.n_cells,
            n_ctx_row=self.n_ctx,
        )
        jobs = [self._generation_job(request, n_new, index, events, deadline) for index in range(request.n)]
        self._worker.submit(jobs)
        return Ticket(self._worker, jobs, events, deadline)

    def _n_new(self, request: Generation) -> int:
        if request.max_tokens is not None:
            return request.max_tokens

        return max(min(self.settings.default_max_tokens, self.n_ctx - len(request.tokens)), 1)

    def _generation_job(
        self, request: Generation, n_new: int, index: int, events: SimpleQueue[Event], deadline: float
    ) -> Job:
        sampler = self._samplers.build(dataclasses.replace(request.sampling, seed=request.sampling.seed + index))
        n_top = request.n_logprobs
        return Job(
            row=Row(caller=request.caller, tokens=list(request.tokens), n_new=n_new, adapter=request.adapter),
            index=index,
            events=events,
            pick=lambda logits, n_left: sampler.pick(logits, n_left=n_left),
            describe=None if n_top is None else (lambda logits, token: self._describe(logits, token, n_top)),
            close=sampler.close,
            text=TextAssembler(request.stop),
            deadline=deadline,
            is_streamed=request.is_streamed,
        )

    def _describe(self, logits: Any, token: int, n_top: int) -> TokenChoice:
        from promptflow_lite.engine.sampling import log_softmax_at, top_tokens

        alternatives = top_tokens(logits, n_top)
        logprob, *others = log_softmax_at(logits, [token, *alternatives])
        pieces = (self.model.piece(other, special=True) for other in alternatives)
        return TokenChoice(self.model.piece(token, special=True), logprob, tuple(zip(pieces, others, strict=True)))

    def score_choices(
        self,
        tokens: Sequence[int],
        labels: Sequence[str],
        *,
        adapter: str = "",
        caller: str = "",
        timeout_s: float | None = None,
    ) -> tuple[list[float], Scored]:
        """Log probability of each label as the answer, scaled to sum to one over the labels; generates nothing.

        Cost: one forward pass of the prompt's unshared tokens, and one token for each inner node of the label tree.
        """
        self._check_queue(1)
        tree = build_label_tree(labels, [self.model.tokenize(label, parse_special=False) for label in labels])
        row = Row(
            caller=caller,
            tokens=list(tokens),
            n_new=max((len(path) for path in tree.chain_paths), default=0),
            adapter=adapter,
            chains=tree.chains,
        )
        check_fits(row, n_cells=self.settings.n_cells, n_ctx_row=self.n_ctx)
        events: SimpleQueue[Event] = SimpleQueue()
        deadline = _deadline(timeout_s)
        job = Job(
            row=row,
            index=0,
            events=events,
            read=lambda logits, chain, offset: self._read_node(tree, logits, chain, offset),
            deadline=deadline,
        )
        self._worker.submit([job])
        [event] = [event for event in Ticket(self._worker, [job], events, deadline) if isinstance(event, Scored)]
        return score_labels(tree, dict(event.readings)), event

    def _read_node(self, tree: LabelTree, logits: Any, chain: int, offset: int) -> tuple[Any, dict[int, float]]:
        node = tree.node(chain, offset)
        tokens = tree.branches[node]
        if not tree.needs_normalising:
            return node, {token: float(logits[token]) for token in tokens}

        from promptflow_lite.engine.sampling import log_softmax_at

        ends = sorted(self.model.end_tokens)
        values = log_softmax_at(logits, [*tokens, *ends])
        readings = dict(zip(tokens, values, strict=False))
        readings[-1] = max(values[len(tokens) :], default=-math.inf)
        return node, readings

    def embed(self, prompts: Sequence[Sequence[int]], *, timeout_s: float | None = None) -> list[list[float]]:
        """One vector of unit length a prompt.

        Raises:
            ContextFullError: a prompt is longer than one pass takes.
        """
        n_most = min(EMBEDDING_TOKENS, self.model.n_ctx_train or EMBEDDING_TOKENS)
        for prompt in prompts:
            check_fits(Row(caller="", tokens=list(prompt), n_new=0), n_cells=n_most, n_ctx_row=n_most)
        answer: Future[list[list[float]]] = Future()
        self._worker.call(lambda: self._embed_on_worker(prompts, answer))
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            answer.cancel()
            raise EngineTimeoutError("The local model did not answer in time.", hint="Raise the timeout.") from None

    def _embed_on_worker(self, prompts: Sequence[Sequence[int]], answer: Future[list[list[float]]]) -> None:
        from promptflow_lite.engine.bindings import EmbeddingContext

        if not answer.set_running_or_notify_cancel():
            return

        try:
            if self._embeddings is None:
                self._embeddings = EmbeddingContext(self.model, self.settings)
            answer.set_result(self._embeddings.embed(prompts))
        except Exception as error:  # the caller waits: whatever happened is its answer
            answer.set_exception(error)

    def _check_queue(self, n_rows: int) -> None:
        waiting = self._worker.n_jobs
        if waiting + n_rows > self.settings.max_waiting:
            raise EngineBusyError(
                f"{waiting} requests wait for the local model already.",
                hint="Send fewer at a time, or raise max_waiting.",
                need=n_rows,
                have=max(self.settings.max_waiting - waiting, 0),
            )

    def fresh_seed(self) -> int:
        """The seed of a request that names none: fixed in reproducible mode."""
        return self.settings.seed if self.settings.reproducible else self._seeds.getrandbits(31)

    # --- what it is ----------------------------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that determines answers; runs record it."""
        from importlib.metadata import version

        metadata = self.model.metadata
        return {
            "model": metadata.get("general.name") or self.path.stem,
            "file": self.path.name,
            "sha256": file_digest(self.path),
            "quantisation": _file_type(metadata.get("general.file_type")),
            "weights": "as in the file" if self.model.correction is None else "rewritten for several rows",
            "template_sha256": hashlib.sha256(self.template.source.encode()).hexdigest(),
            "sampler": {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
            "seed": self.settings.seed if self.settings.reproducible else None,
            "engine": f"llama-cpp-python {version('llama-cpp-python')}",
            "mode": "reproducible" if self.settings.reproducible else "fast",
            "n_gpu_layers": self.settings.n_gpu_layers,
            "flash_attention": self.settings.flash_attention,
        }

    def close(self) -> None:
        """Stop the thread and free the model; running requests fail with `EngineClosedError`."""
        if self._is_closed:
            return

        self._is_closed = True
        self._worker.close()
        self._samplers.close()
        if self._embeddings is not None:
            self._embeddings.close()
        self._context.close()
        self.model.close()


def _load_model(path: Path, settings: EngineSettings) -> LlamaModel:
    """The model from its own file, or from files that mean the same and are faster."""
    from promptflow_lite.engine.bindings import LlamaModel, describe_build

    if settings.weights not in _WEIGHTS:
        raise EngineRequestError(f"weights is {settings.weights!r}; known are {', '.join(_WEIGHTS)}.", field="weights")

    is_own_kernels = settings.reproducible or settings.n_gpu_layers != 0 or "REPACK" not in describe_build()["features"]
    if settings.weights == "file" or is_own_kernels or not path.is_file():
        return LlamaModel(path, settings)

    from promptflow_lite.engine.weights import answers_alike, rewritten_weights

    files = rewritten_weights(path, lambda files: answers_alike(path, files))
    return LlamaModel(path, settings) if files is None else LlamaModel(files.model, settings, files.correction)


def _file_type(number: str | None) -> str:
    from promptflow_lite._utils.quantisation import FILE_TYPES

    return FILE_TYPES.get(int(number), f"type {number}") if number and number.isdigit() else "unknown"


def _deadline(timeout_s: float | None) -> float:
    return math.inf if timeout_s is None else time.monotonic() + timeout_s


def _resolve(settings: EngineSettings, model: Any) -> EngineSettings:
    """Settings with every size chosen."""
    if settings.reproducible:
        return _resolve_streams(settings, model)

    n_cells = settings.n_cells
    if n_cells <= 0:
        affordable = int(_memory_bytes() * _POOL_FRACTION / max(model.cell_bytes, 1))
        n_cells = max(min(max(_POOL_CELLS, model.n_ctx_train), affordable, 4 * _POOL_CELLS), 512)
    step_tokens = max(settings.step_tokens, settings.max_rows + 1)
    return dataclasses.replace(settings, n_cells=-(-n_cells // 256) * 256, step_tokens=step_tokens)


def _resolve_streams(settings: EngineSettings, model: Any) -> EngineSettings:
    row_cells = settings.row_cells or min(_STREAM_CELLS, model.n_ctx_train or _STREAM_CELLS)
    row_cells = -(-row_cells // 256) * 256
    step_tokens = max(settings.step_tokens, settings.max_rows, PIECE)
    sized = dataclasses.replace(settings, row_cells=row_cells, step_tokens=step_tokens)
    return dataclasses.replace(sized, n_cells=row_cells * _n_sequences(sized))


def _n_sequences(settings: EngineSettings) -> int:
    """Sequence ids the context must offer."""
    return settings.max_rows + _IDLE_STREAMS if settings.reproducible else n_shared_sequences(settings)


def _memory_bytes() -> int:
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    return 8 << 30


# --- one engine a process ---------------------------------------------------------------------------------------------

_engines: dict[tuple[Path, EngineSettings], Engine] = {}
_engines_lock = threading.Lock()


def shared_engine(path: Path, settings: EngineSettings | None = None) -> Engine:
    """The process's engine for a model file and settings, loaded at first use and closed at exit."""
    key = (path.resolve(), settings or EngineSettings())
    with _engines_lock:
        if key not in _engines:
            _engines[key] = Engine(*key)
        return _engines[key]


def loaded_engines() -> list[Engine]:
    """Engines this process has loaded through `shared_engine`."""
    with _engines_lock:
        return list(_engines.values())


def close_engines() -> None:
    """Close every shared engine; the next use loads again."""
    with _engines_lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.close()


def _forget_after_fork() -> None:
    """A forked child has the parent's handles but not its thread: it loads its own engine when it needs one."""
    global _engines_lock
    _engines_lock = threading.Lock()
    _engines.clear()


atexit.register(close_engines)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
