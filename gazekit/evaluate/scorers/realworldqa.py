"""RealWorldQA: letters, numbers and words."""

from __future__ import annotations

from random import Random

from gazekit.evaluate.scorers.answers import tail
from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.letters import extract_letter
from gazekit.evaluate.scorers.means import exact_match
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right


def lmms(prediction: str, doc: Doc, truth: str | int, generator: Random | None = None) -> Verdict:
    """A truth of A to D wants the shared extractor; another wants equality but for case and full stops at the end."""
    truth = str(truth).strip()
    if truth.upper() in ("A", "B", "C", "D"):
        letter = extract_letter(prediction, "ABCD")
        return right(letter == truth.upper(), letter) if letter else Verdict(score=0.0, parsed=False)
    said = prediction.lower().strip().rstrip(".")
    return right(said == truth.lower(), said) if said else Verdict(score=0.0, parsed=False)


def cambrian(prediction: str, doc: Doc, truth: str | int, generator: Random | None = None) -> Verdict:
    """The first word of what follows "answer is"."""
    words = tail(prediction).split()
    return right(words[0] == str(truth).lower(), words[0]) if words else Verdict(score=0.0, parsed=False)


REALWORLDQA = Benchmark(
    title="RealWorldQA",
    truth=lambda doc: doc["answer"],
    lmms=lmms,
    cambrian=cambrian,
    lmms_figures=exact_match,
    cambrian_figures=exact_match,
    metric="exact_match",
)
