"""What a scorer says of one answer."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, SupportsIndex

Doc = Mapping[str, Any]
"""One row of a benchmark, with the fields that lmms-eval's data sets have; pictures are not looked at."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How one prediction was read, and what it is worth.

    Attributes:
        score: 0 (wrong) to 1 (right); TextVQA has values in between.
        answer: What was read out of the prediction; what the scorer compared with the truth.
        parsed: False: nothing could be read out of it, or only a judge could have. Such an answer is wrong (one
            exception: `mathvista`, whose `lmms` profile keeps what lmms-eval makes of a silent judge) and is
            counted in the `parse_failure_rate` of `aggregate`.
    """

    score: float
    answer: str | None = None
    parsed: bool = True


Judge = Callable[[str, Doc, Any, Random | None], Verdict]
"""Judges (prediction, doc, truth, generator); only scorers that guess in lmms-eval look at the generator."""


def listed(truth: Any) -> list[Any]:
    """One truth or several (a list, a tuple, an array out of a table) as a list."""
    if isinstance(truth, str) or not isinstance(truth, Iterable):
        return [truth]
    return list(truth)


def letter_of(truth: SupportsIndex | str) -> str:
    """The capital of an option that is given by number from 0, also as text; a letter stays as it is."""
    text = str(truth)
    return string.ascii_uppercase[int(text)] if text.isdecimal() else text


def right(condition: object, answer: str | None) -> Verdict:
    """The verdict on an answer that could be read: 1 if the condition holds, else 0."""
    return Verdict(score=1.0 if condition else 0.0, answer=answer)


def unread(choices: list[str], truth: object, generator: Random | None) -> Verdict:
    """The verdict on a prediction that names no choice: wrong, or with a generator the guess that lmms-eval makes.

    Args:
        choices: Letters to guess among.
        truth: The right letter, or several.
        generator: Where the guess comes from. `Random(0)` draws what lmms-eval draws right after `random.seed(0)`.
    """
    if generator is None:
        return Verdict(score=0.0, parsed=False)
    guess = generator.choice(choices)
    return Verdict(score=1.0 if guess in listed(truth) else 0.0, answer=guess, parsed=False)
