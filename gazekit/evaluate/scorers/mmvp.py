"""MMVP: one question about two images that differ in what CLIP does not see; both must be right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from gazekit.evaluate.scorers.answers import option
from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import Row, accuracy, grouped, mean
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right

_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^\s*\(?(?P<letter>[AB])\)?\.?\s*$",
        r"^\s*\(?(?P<letter>[AB])\)?[.\s]",
        r"answer\s+is\s+\(?(?P<letter>[AB])\)?",
        r"option\s+\(?(?P<letter>[AB])\)?",
        r"(?P<letter>[AB])\)?(\s|$)",
        r"^(?P<letter>[AB])",
    )
]
"""From the whole answer to any word that ends in A or B ("No idea" is A), last the first letter ("Because" is B)."""


def truth(doc: Doc) -> str:
    """The right answer, as it stands in the data: "(a)" or "(b)"."""
    return doc["Correct Answer"] if "Correct Answer" in doc else doc["answer"]


def lmms(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """The first of six patterns that is found, whatever the case."""
    for pattern in _PATTERNS:
        if found := pattern.search(prediction.strip()):
            letter = found["letter"].upper()
            return right(letter == _letter(truth), letter)
    return Verdict(score=0.0, parsed=False)


def cambrian(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """The letter or the text of the right option, and nothing else, after "answer is"."""
    said = option(prediction)
    texts = [part.split(")")[1].strip().lower() for part in doc.get("Options", "").split("(") if ")" in part]
    if said not in ("a", "b", *texts):
        return Verdict(score=0.0, answer=said or None, parsed=False)
    wanted = _letter(truth).lower()
    return right(said in (wanted, *texts["ab".find(wanted) :][:1]), said)


def lmms_figures(records: Sequence[Row]) -> dict[str, float]:
    """Shares (0 to 1) of right answers, and of pairs that are right in both.

    `Index` counts from 1, as in the data: counted from 0, other pairs come out. Pairs that are not whole are left out.
    """
    pairs = grouped([{**record, "pair": _pair(record)} for record in records], "pair").values()
    whole = [all(record["score"] == 1 for record in pair) for pair in pairs if len(pair) == 2]
    return {"mmvp_accuracy": accuracy(records), "mmvp_pair_accuracy": mean(whole)}


def _letter(answer: str) -> str:
    """The letter of "(a)", say."""
    answer = answer.strip().lower()
    return next(
        (letter.upper() for letter in "ab" if f"({letter})" in answer or answer == letter), answer.upper()
    )


def _pair(record: Row) -> int:
    """Which pair a record belongs to."""
    index = record[next((name for name in ("Index", "index", "idx") if name in record), "Index")]
    return (index - 1 if index > 0 else index) // 2


MMVP = Benchmark(
    title="MMVP",
    truth=truth,
    lmms=lmms,
    cambrian=cambrian,
    lmms_figures=lmms_figures,
    cambrian_figures=lmms_figures,
    metric="mmvp_pair_accuracy",
)
