"""Bytes of tokens to text, piece by piece: never half a character, never part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextAssembler:
    """The growing text of one row.

    Args:
        stop: Strings that end the text; neither they nor anything after them is emitted.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self.text = ""
        """Everything emitted so far."""
        self.is_stopped = False
        self._stop = tuple(text for text in stop if text)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        """Decoded, but possibly the start of a stop string."""

    def push(self, piece: bytes) -> str:
        """Add a token's bytes; returns what is now certain."""
        if self.is_stopped:
            return ""

        return self._emit(self._decoder.decode(piece), is_last=False)

    def finish(self) -> str:
        """The row ended; returns what was held back. An incomplete character becomes U+FFFD."""
        if self.is_stopped:
            return ""

        return self._emit(self._decoder.decode(b"", final=True), is_last=True)

    def _emit(self, new: str, *, is_last: bool) -> str:
        candidate = self._held + new
        found = [position for text in self._stop if (position := candidate.find(text)) >= 0]
        if found:
            self.is_stopped = True
            certain, self._held = candidate[: min(found)], ""
        else:
            n_held = 0 if is_last else self._possible_start(candidate)
            certain, self._held = candidate[: len(candidate) - n_held], candidate[len(candidate) - n_held :]
        self.text += certain
        return certain

    def _possible_start(self, text: str) -> int:
        """Length of the longest end of `text` that a stop string starts with."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stop):
                return length

        return 0
