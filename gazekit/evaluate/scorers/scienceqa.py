"""ScienceQA, questions with an image: a letter."""

from __future__ import annotations

import string
from random import Random
from typing import SupportsIndex

from gazekit.evaluate.scorers.answers import tail
from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import exact_match
from gazekit.evaluate.scorers.verdict import Doc, Verdict, letter_of, right

_UNPUNCTUATED = str.maketrans("", "", string.punctuation)


def truth(doc: Doc) -> str:
    """The letter of the right choice."""
    return letter_of(doc["answer"])


def lmms(prediction: str, doc: Doc, truth: SupportsIndex | str, generator: Random | None = None) -> Verdict:
    """A bare letter of either case, or a capital and a full stop, whatever follows; nothing else ("B)" is wrong)."""
    said, wanted = prediction.strip(), letter_of(truth).strip().lower()
    if said.lower() == wanted or (len(said) == 1 and said.isalpha()):
        return right(said.lower() == wanted, said.upper())
    if said[1:2] == "." and said[0].isupper():
        return right(said[0].lower() == wanted, said[0])
    return Verdict(score=0.0, parsed=False)


def cambrian(
    prediction: str, doc: Doc, truth: SupportsIndex | str, generator: Random | None = None
) -> Verdict:
    """What follows "answer is": up to its first full stop the letter, or as a whole the text of the right choice."""
    said = tail(prediction)
    if not said:
        return Verdict(score=0.0, parsed=False)
    texts = [_plain(text.lower().strip()) for text in doc["choices"]]
    letter, wanted = said.split(".")[0], letter_of(truth).lower().strip()
    matches = letter == wanted or _plain(said) == texts[string.ascii_lowercase.index(wanted)]
    parsed = matches or letter in list(string.ascii_lowercase[: len(texts)]) or _plain(said) in texts
    return Verdict(score=1.0 if matches else 0.0, answer=said, parsed=parsed)


def _plain(text: str) -> str:
    """Without punctuation, in lower case."""
    return text.translate(_UNPUNCTUATED).lower().strip()


SCIENCEQA = Benchmark(
    title="SQA",
    truth=truth,
    lmms=lmms,
    cambrian=cambrian,
    lmms_figures=exact_match,
    cambrian_figures=exact_match,
    metric="exact_match",
)
