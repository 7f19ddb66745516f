"""Scoring k labels on one prompt without generating a token. Pure.

Labels become a tree of tokens. A label's probability is the product of its tokens' probabilities along the tree, where
a label that other labels continue also has to end; the results are scaled to sum to one over the labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from promptflow_lite.errors import EngineRequestError

Prefix = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LabelTree:
    """The tokens of all labels, and the chains of forward passes that read their probabilities."""

    labels: tuple[str, ...]
    tokens: tuple[Prefix, ...]
    branches: Mapping[Prefix, tuple[int, ...]] = field(repr=False)
    """Inner node -> tokens that may follow."""
    chains: tuple[tuple[int, Prefix], ...]
    """In depth-first order: (tokens kept of the chain before, tokens to evaluate); every inner node once."""
    chain_paths: tuple[Prefix, ...]
    """Whole path of each chain."""

    def node(self, chain: int, offset: int) -> Prefix:
        """The inner node whose logits were read at an offset of a chain."""
        return self.chain_paths[chain][:offset] if offset else ()

    @property
    def needs_normalising(self) -> bool:
        """Whether probabilities over the whole vocabulary are needed; not when every label is one token."""
        return len(self.branches) > 1


def build_label_tree(labels: Sequence[str], tokens: Sequence[Sequence[int]]) -> LabelTree:
    """Arrange labels by their tokens.

    Raises:
        EngineRequestError: fewer than two labels, equal ones, or one without tokens.
    """
    prefixes = tuple(tuple(part) for part in tokens)
    if len(labels) < 2 or len(set(prefixes)) != len(labels) or not all(prefixes):
        raise EngineRequestError(
            "choices needs at least two different labels, none of them empty.", field="choices", labels=list(labels)
        )

    branches: dict[Prefix, dict[int, None]] = {}
    for prefix in prefixes:
        for depth, token in enumerate(prefix):
            branches.setdefault(prefix[:depth], {})[token] = None
    inner = sorted(node for node in branches if node)
    ends = [node for node in inner if not any(other[: len(node)] == node for other in inner if len(other) > len(node))]
    chains: list[tuple[int, Prefix]] = []
    before: Prefix = ()
    for path in ends:
        n_kept = next(
            (i for i, (a, b) in enumerate(zip(before, path, strict=False)) if a != b), min(len(before), len(path))
        )
        chains.append((n_kept, path[n_kept:]))
        before = path
    return LabelTree(
        labels=tuple(labels),
        tokens=prefixes,
        branches={node: tuple(following) for node, following in branches.items()},
        chains=tuple(chains),
        chain_paths=tuple(ends),
    )


def score_labels(tree: LabelTree, readings: Mapping[Prefix, Mapping[int, float]]) -> list[float]:
    """Log probability of each label, scaled to sum to one.

    Args:
        tree: The labels.
        readings: Inner node -> token -> log probability; the key -1 is the log probability of ending there.
    """
    scores = []
    for prefix in tree.tokens:
        score = sum(readings[prefix[:depth]][token] for depth, token in enumerate(prefix))
        if prefix in tree.branches:
            score += readings[prefix][-1]
        scores.append(score)
    return normalise(scores)


def normalise(scores: Sequence[float]) -> list[float]:
    """Log scores shifted so that their probabilities sum to one."""
    highest = max(scores)
    total = highest + math.log(sum(math.exp(score - highest) for score in scores))
    return [score - total for score in scores]


def correct_prior(scores: Sequence[float], prior: Sequence[float]) -> list[float]:
    """Divide by what the labels get on a content-free prompt.

    Source: Zhao et al. 2021, Calibrate Before Use; the diagonal form.
    """
    return normalise([score - base for score, base in zip(scores, prior, strict=True)])
