"""The local engine as a `ModelClient`: OpenAI-shaped bodies in and out, no server between.

Beyond the API, a body may say `choices` (labels scored without generating), `prior_correction`, `top_k`, `min_p`,
`repeat_penalty`, `grammar` (GBNF), `adapter` (a LoRA file) and `reproducible`.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from promptflow_lite import settings
from promptflow_lite.catalog import resolve_model
from promptflow_lite.engine import Delta, Engine, EngineSettings, Finished, Ticket, correct_prior, shared_engine
from promptflow_lite.errors import EngineRequestError
from promptflow_lite.providers import local_request as request
from promptflow_lite.providers import local_response as response
from promptflow_lite.providers.base import Body, ModelClient

_client_numbers = itertools.count()
_N_PRIORS = 64
"""Content-free prompts whose label scores a client keeps."""


def local_client(model: str | None = None, engine_settings: EngineSettings | None = None) -> ModelClient:
    """A client of this process's engine for a model; the model loads at the first request.

    Args:
        model: A catalogue name or the path of a GGUF file; None for the default model.
        engine_settings: Settings of the engine; the environment's (`PFL_ENGINE_…`) when None.
    Raises:
        ModelNotFoundError: nothing of that name is here.
    """
    return LocalClient(resolve_model(model), engine_settings or settings_from_environment(), name=model)


def settings_from_environment() -> EngineSettings:
    """Engine settings with the numbers and switches of `PFL_ENGINE_<NAME>` applied."""
    chosen: dict[str, Any] = {}
    for field in dataclasses.fields(EngineSettings):
        name = f"PFL_ENGINE_{field.name.upper()}"
        if settings.env(name) is not None:
            readers: dict[type, Callable[[str], Any]] = {
                bool: settings.env_bool,
                int: settings.env_int,
                str: settings.env,
            }
            chosen[field.name] = readers[type(field.default)](name)
    return EngineSettings(**{name: value for name, value in chosen.items() if value is not None})


class LocalClient:
    """See `local_client`. Each client is one caller to the engine: clients take turns."""

    def __init__(self, path: Path, engine_settings: EngineSettings, *, name: str | None = None) -> None:
        self.path = path
        self.name = name or path.stem
        self._settings = engine_settings
        self._caller = f"client-{next(_client_numbers)}"
        self._priors: dict[tuple[Any, ...], list[float]] = {}
        self._on_start: Callable[[Ticket], None] | None = None
        self._takes_cut_answers = False

    def session(self, caller: str, on_start: Callable[[Ticket], None]) -> LocalClient:
        """The same model for another caller, who learns of each request's ticket and may abandon it.

        A structured answer that did not fit its budget is handed on as it is with `length` as the reason to finish,
        which is what callers who speak the OpenAI API look for.
        """
        client = copy.copy(self)
        client._caller = caller
        client._on_start = on_start
        client._takes_cut_answers = True
        return client

    def engine(self, body: Body | None = None) -> Engine:
        """The engine that answers a body, loaded if need be."""
        wanted = (body or {}).get("reproducible")
        chosen = self._settings
        if wanted is not None and bool(wanted) != chosen.reproducible:
            chosen = dataclasses.replace(chosen, reproducible=bool(wanted))
        return shared_engine(self.path, chosen)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What determines the answers, for the run's record."""
        return self.engine().fingerprint

    # --- chat ----------------------------------------------------------------------------------------------------

    def chat(self, body: Body, *, timeout_s: float | None = None) -> Body:
        request.check_fields(body, request.CHAT_FIELDS)
        engine = self.engine(body)
        tokens = self._chat_tokens(engine, body)
        if body.get("choices") is not None:
            return self._choose_chat(engine, body, tokens, timeout_s)

        structure = request.structure_of(engine, body)
        ticket = self._start(engine, body, tokens, structure, self._n_chat_logprobs(body), timeout_s)
        samples, n_completion, n_cached = response.collect(ticket, len(ticket))
        if structure.is_json:
            response.check_json([sample for sample in samples if not self._takes_cut(sample)])
        has_tools = bool(request.offered_tools(body))
        answer = response.envelope("chat.completion", "chatcmpl", self.name)
        answer["choices"] = [
            response.chat_choice(
                index,
                sample,
                is_tool_call=structure.is_tool_call,
                has_tools=has_tools,
                has_logprobs=bool(body.get("logprobs")),
            )
            for index, sample in enumerate(samples)
        ]
        answer["usage"] = response.usage(len(tokens), n_completion, n_cached)
        return answer

    def stream_chat(self, body: Body, *, timeout_s: float | None = None) -> Iterator[Body]:
        if body.get("choices") is not None or request.offered_tools(body):
            return _chunks_of(self.chat(body, timeout_s=timeout_s))

        request.check_fields(body, request.CHAT_FIELDS)
        engine = self.engine(body)
        tokens = self._chat_tokens(engine, body)
        structure = request.structure_of(engine, body)
        n_logprobs = self._n_chat_logprobs(body)
        ticket = self._start(engine, body, tokens, structure, n_logprobs, timeout_s, is_streamed=True)
        return self._stream_chat(ticket, len(tokens), has_logprobs=n_logprobs is not None)

    def _stream_chat(self, ticket: Ticket, n_prompt: int, *, has_logprobs: bool) -> Iterator[Body]:
        base = response.envelope("chat.completion.chunk", "chatcmpl", self.name)
        for index in range(len(ticket)):
            yield _chunk(base, index, {"role": "assistant", "content": ""})
        n_completion, cached = 0, []
        for event in ticket:
            if isinstance(event, Delta):
                logprobs = {"content": response.chat_logprobs(event.tokens), "refusal": None} if has_logprobs else None
                yield _chunk(base, event.index, {"content": event.text}, logprobs=logprobs)
            elif isinstance(event, Finished):
                n_completion += event.n_tokens
                cached.append(event.n_cached)
                yield _chunk(base, event.index, {}, reason=event.reason)
        yield {**base, "choices": [], "usage": response.usage(n_prompt, n_completion, min(cached, default=0))}

    def _chat_tokens(self, engine: Engine, body: Body) -> list[int]:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise EngineRequestError("messages must be a list with at least one message.", field="messages")

        return engine.tokenize_chat(messages, request.offered_tools(body))

    def _n_chat_logprobs(self, body: Body) -> int | None:
        return request.logprob_count(body, "top_logprobs") or 0 if body.get("logprobs") else None

    def _start(
        self,
        engine: Engine,
        body: Body,
        tokens: list[int],
        structure: request.Structure,
        n_logprobs: int | None,
        timeout_s: float | None,
        *,
        is_streamed: bool = False,
    ) -> Ticket:
        wanted = request.generation(engine, body, tokens, structure, n_logprobs=n_logprobs, is_streamed=is_streamed)
        ticket = engine.generate(dataclasses.replace(wanted, caller=self._caller, timeout_s=timeout_s))
        if self._on_start is not None:
            self._on_start(ticket)
        return ticket

    def _takes_cut(self, sample: response.Sample) -> bool:
        return self._takes_cut_answers and sample.reason == "length"

    # --- completions ---------------------------------------------------------------------------------------------

    def complete(self, body: Body, *, timeout_s: float | None = None) -> Body:
        request.check_fields(body, request.COMPLETION_FIELDS)
        engine = self.engine(body)
        choices: list[Body] = []
        totals = [0, 0, 0]
        for text, tokens in self._prompts(engine, body):
            if body.get("choices") is not None:
                probabilities, n_cached = self._label_probabilities(engine, body, tokens, None, timeout_s)
                best = max(probabilities, key=probabilities.__getitem__)
                choices.append(
                    {
                        "index": len(choices),
                        "text": best,
                        "finish_reason": "stop",
                        "logprobs": None,
                        "label_probabilities": probabilities,
                    }
                )
                n_completion = 0
            else:
                samples, n_completion, n_cached = self._complete_one(engine, body, tokens, timeout_s)
                choices += [
                    _completion_choice(body, text, len(choices) + index, sample) for index, sample in enumerate(samples)
                ]
            totals = [total + part for total, part in zip(totals, (len(tokens), n_completion, n_cached), strict=True)]
        answer = response.envelope("text_completion", "cmpl", self.name)
        return {**answer, "choices": choices, "usage": response.usage(*totals)}

    def _complete_one(
        self, engine: Engine, body: Body, tokens: list[int], timeout_s: float | None
    ) -> tuple[list[response.Sample], int, int]:
        structure = request.structure_of(engine, body)
        ticket = self._start(engine, body, tokens, structure, request.logprob_count(body, "logprobs"), timeout_s)
        samples, n_completion, n_cached = response.collect(ticket, len(ticket))
        if structure.is_json:
            response.check_json([sample for sample in samples if not self._takes_cut(sample)])
        return samples, n_completion, n_cached

    def stream_complete(self, body: Body, *, timeout_s: float | None = None) -> Iterator[Body]:
        request.check_fields(body, request.COMPLETION_FIELDS)
        engine = self.engine(body)
        prompts = self._prompts(engine, body)
        if len(prompts) != 1 or body.get("choices") is not None:
            return iter([self.complete(body, timeout_s=timeout_s)])

        [(text, tokens)] = prompts
        structure = request.structure_of(engine, body)
        ticket = self._start(
            engine, body, tokens, structure, request.logprob_count(body, "logprobs"), timeout_s, is_streamed=True
        )
        return self._stream_complete(ticket, body, text, len(tokens))

    def _stream_complete(self, ticket: Ticket, body: Body, prompt: str, n_prompt: int) -> Iterator[Body]:
        base = response.envelope("text_completion", "cmpl", self.name)
        n_completion, cached = 0, []
        if body.get("echo"):
            yield {**base, "choices": [{"index": 0, "text": prompt, "finish_reason": None, "logprobs": None}]}
        for event in ticket:
            choice: Body = {"index": event.index, "text": "", "finish_reason": None, "logprobs": None}
            if isinstance(event, Delta):
                choice["text"] = event.text
                if body.get("logprobs") is not None:
                    choice["logprobs"] = response.completion_logprobs(event.tokens, 0)
            elif isinstance(event, Finished):
                n_completion += event.n_tokens
                cached.append(event.n_cached)
                choice["finish_reason"] = event.reason
            yield {**base, "choices": [choice]}
        yield {**base, "choices": [], "usage": response.usage(n_prompt, n_completion, min(cached, default=0))}

    def _prompts(self, engine: Engine, body: Body) -> list[tuple[str, list[int]]]:
        """The prompts of a completion: text, a list of texts, tokens or a list of those."""
        prompt = body.get("prompt")
        for name in ("suffix", "best_of"):
            if body.get(name):
                raise EngineRequestError(f"The local model does not know {name}.", field=name)

        if isinstance(prompt, str):
            return [(prompt, engine.tokenize_text(prompt))]

        if isinstance(prompt, list) and prompt and all(isinstance(part, str) for part in prompt):
            return [(part, engine.tokenize_text(part)) for part in prompt]

        if isinstance(prompt, list) and prompt and all(isinstance(part, int) for part in prompt):
            return [("", _checked_tokens(engine, prompt))]

        raise EngineRequestError("prompt must be a text, a list of texts or a list of tokens.", field="prompt")

    # --- choices -------------------------------------------------------------------------------------------------

    def _choose_chat(self, engine: Engine, body: Body, tokens: list[int], timeout_s: float | None) -> Body:
        neutral = _neutral_messages(body)
        neutral_tokens = engine.tokenize_chat(neutral) if neutral else None
        probabilities, n_cached = self._label_probabilities(engine, body, tokens, neutral_tokens, timeout_s)
        best = max(probabilities, key=probabilities.__getitem__)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": best, "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
            "label_probabilities": probabilities,
        }
        answer = response.envelope("chat.completion", "chatcmpl", self.name)
        answer["choices"] = [choice]
        answer["label_probabilities"] = probabilities
        answer["usage"] = response.usage(len(tokens), 0, n_cached)
        return answer

    def _label_probabilities(
        self, engine: Engine, body: Body, tokens: list[int], neutral: list[int] | None, timeout_s: float | None
    ) -> tuple[dict[str, float], int]:
        labels = request.choice_labels(body)
        adapter = str(body.get("adapter") or "")
        scores, scored = engine.score_choices(tokens, labels, adapter=adapter, caller=self._caller, timeout_s=timeout_s)
        if body.get("prior_correction"):
            if neutral is None:
                neutral = engine.tokenize_text(_neutral_prompt(body))
            scores = correct_prior(scores, self._prior(engine, neutral, labels, adapter, timeout_s))
        return {label: math.exp(score) for label, score in zip(labels, scores, strict=True)}, scored.n_cached

    def _prior(
        self, engine: Engine, tokens: list[int], labels: list[str], adapter: str, timeout_s: float | None
    ) -> list[float]:
        """Scores of the labels on a content-free prompt, kept for the next row."""
        key = (tuple(tokens), tuple(labels), adapter)
        known = self._priors.get(key)
        if known is not None:
            return known

        scores, _ = engine.score_choices(tokens, labels, adapter=adapter, caller=self._caller, timeout_s=timeout_s)
        if len(self._priors) >= _N_PRIORS:
            self._priors.clear()
        self._priors[key] = scores
        return scores

    # --- embeddings ----------------------------------------------------------------------------------------------

    def embed(self, body: Body, *, timeout_s: float | None = None) -> Body:
        request.check_fields(body, request.EMBEDDING_FIELDS)
        engine = self.engine(body)
        wanted = body.get("input")
        texts = wanted if isinstance(wanted, list) and not all(isinstance(part, int) for part in wanted) else [wanted]
        prompts = [tokens for text in texts for _text, tokens in self._prompts(engine, {"prompt": text})]
        vectors = engine.embed(prompts, timeout_s=timeout_s)
        n_dimensions = body.get("dimensions")
        if n_dimensions not in (None, engine.model.n_embd):
            raise EngineRequestError(
                f"dimensions is {n_dimensions!r}; this model's vectors have {engine.model.n_embd}.", field="dimensions"
            )

        data = [
            {"object": "embedding", "index": index, "embedding": response.encoded(vector, body.get("encoding_format"))}
            for index, vector in enumerate(vectors)
        ]
        n_tokens = sum(map(len, prompts))
        counts = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
        return {"object": "list", "data": data, "model": self.name, "usage": counts}


def _completion_choice(body: Body, prompt: str, index: int, sample: response.Sample) -> Body:
    has_logprobs = body.get("logprobs") is not None
    echo = prompt if body.get("echo") else ""
    return {
        "index": index,
        "text": echo + sample.text,
        "finish_reason": sample.reason,
        "logprobs": response.completion_logprobs(sample.tokens, len(echo)) if has_logprobs else None,
    }


def _checked_tokens(engine: Engine, tokens: Sequence[int]) -> list[int]:
    for token in tokens:
        if not 0 <= token < engine.model.n_vocab:
            raise EngineRequestError(f"prompt has token {token}, the model has {engine.model.n_vocab}.", field="prompt")

    return list(tokens)


def _neutral_messages(body: Body) -> list[Any] | None:
    """The conversation without its content: what `prior_correction` gives, or the last user message as `N/A`."""
    wanted = body.get("prior_correction")
    if not wanted:
        return None

    messages = list(body["messages"])
    if isinstance(wanted, list):
        return wanted

    last = max((index for index, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    if last < 0:
        raise EngineRequestError("prior_correction needs a user message to replace.", field="prior_correction")

    content = wanted if isinstance(wanted, str) else "N/A"
    return [*messages[:last], {**messages[last], "content": content}, *messages[last + 1 :]]


def _neutral_prompt(body: Body) -> str:
    wanted = body.get("prior_correction")
    return wanted if isinstance(wanted, str) else "N/A"


def _chunk(base: Body, index: int, delta: Body, *, reason: str | None = None, logprobs: Body | None = None) -> Body:
    return {**base, "choices": [{"index": index, "delta": delta, "finish_reason": reason, "logprobs": logprobs}]}


def _chunks_of(answer: Body) -> Iterator[Body]:
    """A complete answer as a stream: what is only known as a whole comes as one chunk."""
    base = {**answer, "object": "chat.completion.chunk"}
    usage = base.pop("usage")
    for choice in answer["choices"]:
        message = {key: value for key, value in choice["message"].items() if value is not None}
        if "tool_calls" in message:
            message["tool_calls"] = [{"index": i, **call} for i, call in enumerate(message["tool_calls"])]
        chunk = _chunk(base, choice["index"], message, logprobs=choice["logprobs"])
        if "label_probabilities" in choice:
            chunk["choices"][0]["label_probabilities"] = choice["label_probabilities"]
        yield chunk
        yield _chunk(base, choice["index"], {}, reason=choice["finish_reason"])
    yield {**base, "choices": [], "usage": usage}
