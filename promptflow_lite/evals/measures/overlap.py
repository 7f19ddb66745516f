"""Overlap of an answer with a reference: BLEU, GLEU, METEOR, ROUGE and chrF, computed by their usual libraries.

Nothing is downloaded. Texts in Latin-1 are cut by NLTK's word tokenizer sentence by sentence, others by the
international tokenizer of mteval (sacrebleu).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from promptflow_lite._utils.imports import require
from promptflow_lite.errors import EvaluatorError

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])")


@dataclass(frozen=True, slots=True)
class RougeScores:
    """Precision, recall and their harmonic mean."""

    precision: float
    recall: float
    f1: float


def tokenize(text: str) -> list[str]:
    """Words and punctuation of a text."""
    if not all(character.isprintable() and ord(character) < 256 for character in text):
        sacrebleu = require("sacrebleu.tokenizers.tokenizer_intl", extra="eval", feature="Tokenizing a text")
        return str(sacrebleu.TokenizerV14International()(text)).split()

    tokenizer = require("nltk.tokenize", extra="eval", feature="Tokenizing a text").NLTKWordTokenizer()
    return [token for sentence in _SENTENCE_END.split(text) for token in tokenizer.tokenize(sentence)]


def bleu(answer: str, ground_truth: str) -> float:
    """Sentence BLEU-4 with smoothing method 4 (NLTK).

    Source: Papineni et al. 2002; Chen & Cherry 2014 for the smoothing.
    """
    module = _nltk("bleu_score", "BLEU")
    smoothing = module.SmoothingFunction().method4
    return float(module.sentence_bleu([tokenize(ground_truth)], tokenize(answer), smoothing_function=smoothing))


def gleu(answer: str, ground_truth: str) -> float:
    """Sentence GLEU (NLTK). Source: Wu et al. 2016."""
    return float(_nltk("gleu_score", "GLEU").sentence_gleu([tokenize(ground_truth)], tokenize(answer)))


def meteor(answer: str, ground_truth: str, *, alpha: float = 0.9, beta: float = 3.0, gamma: float = 0.5) -> float:
    """METEOR (NLTK). Source: Banerjee & Lavie 2005.

    Raises:
        EvaluatorError: the WordNet corpus, which METEOR needs for synonyms, is not on this machine.
    """
    module = _nltk("meteor_score", "METEOR")
    _require_wordnet()
    reference, words = tokenize(ground_truth), tokenize(answer)
    return float(module.single_meteor_score(reference, words, alpha=alpha, beta=beta, gamma=gamma))


def _require_wordnet() -> None:
    corpora = require("nltk.corpus", extra="eval", feature="METEOR")
    try:
        corpora.wordnet.ensure_loaded()
    except LookupError as error:
        raise EvaluatorError(
            "METEOR needs the WordNet corpus of NLTK, which is not on this machine.",
            hint="Put it there once: python -m nltk.downloader wordnet (or unpack it under nltk_data/corpora).",
        ) from error


def rouge(answer: str, ground_truth: str, kind: str = "rougeL") -> RougeScores:
    """ROUGE without stemming (rouge-score). Source: Lin 2004.

    Args:
        answer: The candidate.
        ground_truth: The reference.
        kind: `rouge1` … `rouge9` or `rougeL`.
    """
    scorer = require("rouge_score.rouge_scorer", extra="eval", feature="ROUGE").RougeScorer([kind], use_stemmer=False)
    found = scorer.score(ground_truth, answer)[kind]
    return RougeScores(float(found.precision), float(found.recall), float(found.fmeasure))


def chrf(answer: str, ground_truth: str) -> float:
    """chrF between 0 and 1 (sacrebleu). Source: Popović 2015."""
    sacrebleu = require("sacrebleu", extra="eval", feature="chrF")
    return float(sacrebleu.sentence_chrf(answer, [ground_truth]).score) / 100


def _nltk(name: str, feature: str) -> Any:
    return require(f"nltk.translate.{name}", extra="eval", feature=feature)
