"""Choosing a token from logits: a chain of C samplers a row, plus the numbers behind a choice.

**Why this shape.** Checking 49,000 tokens against a grammar costs more than a forward pass of a small model. So a token
is drawn without the grammar first; only when the grammar refuses it are all tokens checked and the draw repeated.

Thread: building samplers is safe from any thread; one `Sampler` is used by one thread at a time.
"""

from __future__ import annotations

import ctypes
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from promptflow_lite.engine.bindings import LlamaModel, Logits
from promptflow_lite.errors import GrammarError

_PENALTY_WINDOW = 4096
"""Generated tokens that penalties look back on; the API counts all of them."""
_N_GRAMMARS = 64
"""Compiled grammars kept; rows clone them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """How one row draws its tokens; the defaults are those of the OpenAI API."""

    temperature: float = 1.0
    """0 takes the most probable token."""
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: str = ""
    """GBNF text that the answer must follow; empty for free text."""
    n_closing: int = 0
    """With a grammar: remaining tokens at which the answer is steered to its shortest end."""

    @property
    def is_plain_greedy(self) -> bool:
        has_penalty = self.repeat_penalty != 1.0 or self.frequency_penalty != 0.0 or self.presence_penalty != 0.0
        return self.temperature <= 0.0 and not has_penalty


def log_softmax_at(logits: Logits, tokens: Sequence[int]) -> list[float]:
    """Natural log probabilities of some tokens."""
    highest = float(logits.max())
    total = highest + float(np.log(np.exp(logits - highest, dtype=np.float32).sum(dtype=np.float64)))
    return [float(logits[token]) - total for token in tokens]


def top_tokens(logits: Logits, count: int) -> list[int]:
    """The `count` most probable tokens, best first."""
    if count <= 0:
        return []

    best = np.argpartition(logits, -count)[-count:]
    return [int(token) for token in best[np.argsort(-logits[best], kind="stable")]]


class SamplerFactory:
    """Builds the samplers of one model and keeps compiled grammars."""

    def __init__(self, model: LlamaModel) -> None:
        self.model = model
        self._lock = threading.Lock()
        self._grammars: OrderedDict[str, Any] = OrderedDict()

    def build(self, settings: SamplingSettings) -> Sampler:
        """Raises `GrammarError` when the grammar cannot be compiled."""
        grammar = self._clone_grammar(settings.grammar) if settings.grammar else None
        chain = None if settings.is_plain_greedy else self._build_chain(settings)
        return Sampler(self, settings, chain, grammar)

    def close(self) -> None:
        with self._lock:
            for grammar in self._grammars.values():
                self.model.library.llama_sampler_free(grammar)
            self._grammars.clear()

    @cached_property
    def closing_bias(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Added to logits near the end of a budget, (outside, inside) of a JSON string.

        Outside: end, then closing marks, then an empty string, then separators. Inside: the quote that ends it.
        """
        outside = np.zeros(self.model.n_vocab, np.float32)
        inside = np.zeros(self.model.n_vocab, np.float32)
        for token in range(self.model.n_vocab):
            piece = self.model.piece(token)
            outside[token] = _closing_score(piece)
            inside[token] = 3000.0 if piece == b'"' else 0.0
        outside[list(self.model.end_tokens)] = 4000.0
        return outside, inside

    def _clone_grammar(self, text: str) -> Any:
        library = self.model.library
        with self._lock:
            compiled = self._grammars.pop(text, None)
            if compiled is None:
                compiled = library.llama_sampler_init_grammar(self.model.vocabulary, text.encode(), b"root")
                if not compiled:
                    raise GrammarError(
                        "The grammar cannot be compiled.",
                        hint="It must be GBNF with a rule named root and without left recursion.",
                        grammar=text[:200],
                    )
            self._grammars[text] = compiled
            if len(self._grammars) > _N_GRAMMARS:
                library.llama_sampler_free(self._grammars.popitem(last=False)[1])
            return library.llama_sampler_clone(compiled)

    def _build_chain(self, settings: SamplingSettings) -> Any:
        library = self.model.library
        chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
        for sampler in self._stages(settings):
            library.llama_sampler_chain_add(chain, sampler)
        return chain

    def _stages(self, settings: SamplingSettings) -> list[Any]:
        library, n_vocab = self.model.library, self.model.n_vocab
        stages = []
        if settings.logit_bias:
            entries = (library.llama_logit_bias * len(settings.logit_bias))(*settings.logit_bias)
            stages.append(library.llama_sampler_init_logit_bias(n_vocab, len(settings.logit_bias), entries))
        penalties = (settings.repeat_penalty, settings.frequency_penalty, settings.presence_penalty)
        if penalties != (1.0, 0.0, 0.0):
            stages.append(library.llama_sampler_init_penalties(n_vocab, _PENALTY_WINDOW, *penalties))
        if settings.temperature <= 0.0:
            return [*stages, library.llama_sampler_init_greedy()]

        if settings.top_k > 0:
            stages.append(library.llama_sampler_init_top_k(settings.top_k))
        if settings.top_p < 1.0:
            stages.append(library.llama_sampler_init_top_p(settings.top_p, 1))
        if settings.min_p > 0.0:
            stages.append(library.llama_sampler_init_min_p(settings.min_p, 1))
        stages.append(library.llama_sampler_init_temp(settings.temperature))
        return [*stages, library.llama_sampler_init_dist(settings.seed & 0xFFFFFFFF)]


def _closing_score(piece: bytes) -> float:
    if piece and not piece.strip(b"}]"):
        return 3000.0

    return {b'""': 2000.0, b'"': 1000.0, b",": 500.0, b":": 500.0}.get(piece, 0.0)


_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Sampler:
    """Draws the tokens of one row; close it when the row ends."""

    def __init__(self, factory: SamplerFactory, settings: SamplingSettings, chain: Any, grammar: Any) -> None:
        self.settings = settings
        self._factory = factory
        self._library = factory.model.library
        self._chain = chain
        self._grammar = grammar
        self._is_in_string = False
        self._is_escaped = False

    def close(self) -> None:
        for sampler in (self._chain, self._grammar):
            if sampler:
                self._library.llama_sampler_free(sampler)
        self._chain = self._grammar = None

    def pick(self, logits: Logits, *, n_left: int = 1 << 30) -> int:
        """Choose the next token and remember it.

        Args:
            logits: One row over the vocabulary; not changed.
            n_left: Tokens the row may still produce, this one included.
        Raises:
            GrammarError: no token can continue the answer.
        """
        if self._chain is None and self.settings.logit_bias:
            logits = self._biased(logits)
        if self._grammar is None:
            token = int(logits.argmax()) if self._chain is None else self._draw(self._candidates(logits))
        elif n_left <= self.settings.n_closing:
            bias = self._factory.closing_bias[self._is_in_string]
            token = self._draw_by_grammar(logits + bias, greedy=True)
        else:
            token = int(logits.argmax()) if self._chain is None else self._draw(self._candidates(logits))
            if not self._accepts(token):
                token = self._draw_by_grammar(logits, greedy=self._chain is None)
        if self._chain is not None:
            self._library.llama_sampler_accept(self._chain, token)
        if self._grammar is not None:
            self._library.llama_sampler_accept(self._grammar, token)
            self._follow_strings(self._factory.model.piece(token))
        return token

    def _follow_strings(self, piece: bytes) -> None:
        """Keep track of whether the JSON text so far ends inside a string."""
        if not self.settings.n_closing:
            return

        for byte in piece:
            if self._is_escaped:
                self._is_escaped = False
            elif self._is_in_string and byte == ord("\\"):
                self._is_escaped = True
            elif byte == ord('"'):
                self._is_in_string = not self._is_in_string

    def _biased(self, logits: Logits) -> Logits:
        biased = logits.copy()
        for token, bias in self.settings.logit_bias:
            biased[token] += bias
        return biased

    def _candidates(self, logits: Logits) -> npt.NDArray[Any]:
        candidates = np.zeros(len(logits), _CANDIDATE)
        candidates["id"] = np.arange(len(logits), dtype=np.int32)
        candidates["logit"] = logits
        return candidates

    def _apply(self, sampler: Any, candidates: npt.NDArray[Any]) -> Any:
        data = ctypes.cast(candidates.ctypes.data, ctypes.POINTER(self._library.llama_token_data))
        array = self._library.llama_token_data_array(data=data, size=len(candidates), selected=-1, sorted=False)
        self._library.llama_sampler_apply(sampler, ctypes.byref(array))
        return array

    def _draw(self, candidates: npt.NDArray[Any]) -> int:
        array = self._apply(self._chain, candidates)
        return int(array.data[array.selected].id)

    def _accepts(self, token: int) -> bool:
        single = np.zeros(1, _CANDIDATE)
        single["id"] = token
        self._apply(self._grammar, single)
        return bool(np.isfinite(single["logit"][0]))

    def _draw_by_grammar(self, logits: Logits, *, greedy: bool) -> int:
        candidates = self._candidates(logits)
        self._apply(self._grammar, candidates)
        allowed = candidates[np.isfinite(candidates["logit"])]
        if not len(allowed):
            raise GrammarError("No token can continue the answer under its grammar.")

        if greedy:
            return int(allowed["id"][allowed["logit"].argmax()])

        return self._draw(np.ascontiguousarray(allowed))
