"""GQA: one word or phrase."""

from __future__ import annotations

import string
from random import Random

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import exact_match
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right

_UNPUNCTUATED = str.maketrans("", "", string.punctuation)


def lmms(prediction: str, doc: Doc, truth: str | int, generator: Random | None = None) -> Verdict:
    """Equality but for case and punctuation; articles and blanks count."""
    said = _plain(prediction)
    matches = said == _plain(str(truth))
    return right(matches, said) if said or matches else Verdict(score=0.0, parsed=False)


def cambrian(prediction: str, doc: Doc, truth: str | int, generator: Random | None = None) -> Verdict:
    """Equality but for case and full stops at the end.

    The script also defines a comparison of inflections (by stem and lemma), and does not call it.
    """
    said = prediction.lower().rstrip(".")
    return right(said == str(truth).lower(), said) if said else Verdict(score=0.0, parsed=False)


def _plain(text: str) -> str:
    """In lower case, without punctuation; as long as it was, since lmms-eval does this in arrays of fixed width."""
    return text.lower()[: len(text)].translate(_UNPUNCTUATED).rstrip("\0")


GQA = Benchmark(
    title="GQA",
    truth=lambda doc: doc["answer"],
    lmms=lmms,
    cambrian=cambrian,
    lmms_figures=exact_match,
    cambrian_figures=exact_match,
    metric="exact_match",
)
