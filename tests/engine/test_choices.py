"""Label trees and their scores, against a sum over all continuations."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptflow_lite.engine.choices import build_label_tree, correct_prior, score_labels
from promptflow_lite.errors import EngineRequestError

END = -1


def test_single_token_labels_need_no_forward_pass_beyond_the_prompt() -> None:
    tree = build_label_tree(["a", "b"], [[1], [2]])

    assert tree.chains == ()
    assert not tree.needs_normalising


def test_chains_visit_every_inner_node_once() -> None:
    tree = build_label_tree(["w", "x", "y", "z"], [[1, 2, 3], [1, 2, 4], [1, 5, 6], [7]])

    assert tree.chains == ((0, (1, 2)), (1, (5,)))
    assert [tree.node(chain, offset) for chain, offset in ((0, 0), (0, 1), (0, 2), (1, 2))] == [
        (),
        (1,),
        (1, 2),
        (1, 5),
    ]


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), min_size=2, max_size=6, unique_by=tuple))
def test_probabilities_are_those_of_the_whole_label(tokens: list[list[int]]) -> None:
    labels = [str(part) for part in tokens]
    tree = build_label_tree(labels, tokens)

    def probability(prefix: tuple[int, ...], token: int) -> float:
        draw = random.Random(f"{prefix}")
        weights = [draw.random() + 0.01 for _ in range(4)]
        return weights[token if token != END else 0] / sum(weights)

    readings = {
        node: {token: math.log(probability(node, token)) for token in (*following, END)}
        for node, following in tree.branches.items()
    }
    scores = [math.exp(score) for score in score_labels(tree, readings)]

    whole = []
    for part in map(tuple, tokens):
        value = math.prod(probability(part[:depth], token) for depth, token in enumerate(part))
        is_continued = any(len(other) > len(part) and tuple(other[: len(part)]) == part for other in tokens)
        whole.append(value * (probability(part, END) if is_continued else 1.0))
    assert scores == pytest.approx([value / sum(whole) for value in whole])


def test_prior_correction_divides_and_scales() -> None:
    scores = correct_prior([math.log(0.6), math.log(0.4)], [math.log(0.9), math.log(0.1)])

    assert [math.exp(score) for score in scores] == pytest.approx([1 / 7, 6 / 7])


@pytest.mark.parametrize(("labels", "tokens"), [(["a"], [[1]]), (["a", "b"], [[1], [1]]), (["a", ""], [[1], []])])
def test_labels_that_cannot_be_told_apart_are_refused(labels: list[str], tokens: list[list[int]]) -> None:
    with pytest.raises(EngineRequestError):
        build_label_tree(labels, tokens)
