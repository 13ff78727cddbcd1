"""GQA: one word or phrase."""

from __future__ import annotations

import string
from random import Random

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import exact_match
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right

_UNPUNCTUATED = str.maketrans("", "", string.punctuation)


def lmms(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """Equality but for case and punctuation; articles and blanks count."""
    said = prediction.lower().translate(_UNPUNCTUATED)
    matches = said == truth.lower().translate(_UNPUNCTUATED)
    return right(matches, said) if said or matches else Verdict(score=0.0, parsed=False)


def cambrian(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """Equality but for case and full stops at the end.

    The script also defines a comparison of inflections (by stem and lemma), and does not call it.
    """
    said = prediction.lower().rstrip(".")
    return right(said == truth.lower(), said) if said else Verdict(score=0.0, parsed=False)


GQA = Benchmark(
    title="GQA",
    truth=lambda doc: doc["answer"],
    lmms=lmms,
    cambrian=cambrian,
    lmms_figures=exact_match,
    cambrian_figures=exact_match,
    metric="exact_match",
)
