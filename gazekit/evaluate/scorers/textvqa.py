"""TextVQA: agreement with ten people, after the clean-up of VQA evaluation."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from random import Random

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.contractions import CONTRACTIONS
from gazekit.evaluate.scorers.means import exact_match
from gazekit.evaluate.scorers.verdict import Doc, Verdict

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: str(value) for value, word in enumerate(_WORDS)} | {"none": "0"}
_ARTICLES = ("a", "an", "the")
_SIGNS = ';/[]"{}()=+\\_-><@`,?!'
_MAX_FULL_STOPS = 32
"""lmms-eval hands a flag where the number of replacements belongs: later full stops stay."""


def judge(prediction: str, doc: Doc, truth: Iterable[str] | None, generator: Random | None = None) -> Verdict:
    """The mean over people of how many others say the same, three or more being full marks: .3, .6, .9, 1.

    The doc's answers are not changed, as lmms-eval changes them.

    Args:
        prediction: What was said.
        doc: Not looked at.
        truth: What each person said; None: not public, 0.
        generator: Not used.
    """
    said = clean(prediction)
    people = [] if truth is None else [clean(answer) for answer in truth]
    others = [sum(answer == said for answer in people) - (own == said) for own in people]
    score = statistics.mean(min(1, count / 3) for count in others) if others else 0.0
    if not said and not score:
        return Verdict(score=0.0, parsed=False)
    return Verdict(score=float(score), answer=said)


def clean(text: str) -> str:
    """Lower case, without punctuation and articles, numbers up to ten as digits, contractions with apostrophes."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    text = text.strip().replace("\n", " ").replace("\t", " ").strip()
    spaced = text
    for sign in _SIGNS:
        # A sign beside a blank goes; one between characters parts them.
        beside = f"{sign} " in spaced or f" {sign}" in spaced
        text = text.replace(sign, "" if beside else " ")
    text = re.sub(r"\.(?!\d)", "", text, count=_MAX_FULL_STOPS)
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


TEXTVQA = Benchmark(
    title="TextVQA",
    truth=lambda doc: doc.get("answers"),
    lmms=judge,
    cambrian=judge,
    lmms_figures=exact_match,
    cambrian_figures=exact_match,
    metric="exact_match",
)
