"""NExT-QA, multiple choice: five options about a video."""

from __future__ import annotations

from random import Random
from typing import SupportsIndex

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.candidates import named_choice
from gazekit.evaluate.scorers.means import exact_match
from gazekit.evaluate.scorers.verdict import Doc, Verdict, letter_of, right, unread

_LETTERS = "ABCDE"


def judge(prediction: str, doc: Doc, truth: SupportsIndex | str, generator: Random | None = None) -> Verdict:
    """As MMMU's multiple choice: the last of the choices that are named.

    Args:
        prediction: What was said.
        doc: Options `a0` to `a4`.
        truth: The right option, by number from 0 or by letter.
        generator: See `verdict`.
    """
    options = {letter: doc[f"a{place}"].strip() for place, letter in enumerate(_LETTERS)}
    wanted = letter_of(truth)
    letter = named_choice(prediction, options)
    return unread(list(options), wanted, generator) if letter is None else right(letter == wanted, letter)


NEXTQA = Benchmark(
    title="NExT-QA",
    truth=lambda doc: doc["answer"],
    lmms=judge,
    cambrian=judge,
    lmms_figures=exact_match,
    cambrian_figures=exact_match,
    metric="exact_match",
)
