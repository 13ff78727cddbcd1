"""ChartQA: numbers within 5 per cent, words as they are."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from gazekit.evaluate.scorers.answers import near, number
from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import Row, accuracy
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right


def lmms(prediction: str, doc: Doc, truth: str | float, generator: Random | None = None) -> Verdict:
    """Per cents are hundredths. Numbers within 5 per cent of a truth that is not 0; else equality but for case."""
    truth = str(truth)
    said, wanted = _hundredths(prediction), _hundredths(truth)
    if said is not None and wanted:
        # Not near(): divided, as in lmms-eval, 0.05 comes out on the other side of rounding now and then.
        return right(abs(said - wanted) / abs(wanted) <= 0.05, prediction)
    matches = prediction.lower() == truth.lower()
    return right(matches, prediction) if prediction.strip() or matches else Verdict(score=0.0, parsed=False)


def cambrian(prediction: str, doc: Doc, truth: str | float, generator: Random | None = None) -> Verdict:
    """Numbers within 5 per cent of the truth, else equality but for case; per cents are words."""
    said, wanted = prediction.lower(), str(truth).lower()
    if number(said) is not None and number(wanted) is not None:
        return right(near(said, wanted), prediction)
    matches = said == wanted
    return right(matches, prediction) if prediction.strip() or matches else Verdict(score=0.0, parsed=False)


def figures(records: Sequence[Row]) -> dict[str, float]:
    """Shares (0 to 1) of right answers: `relaxed_overall`, and of each half (`type`) of the data that is there."""
    halves: dict[str, list[Row]] = {"relaxed_human_split": [], "relaxed_augmented_split": []}
    for record in (record for record in records if "type" in record):
        human = record["type"] == "human_test"
        halves["relaxed_human_split" if human else "relaxed_augmented_split"].append(record)
    return {"relaxed_overall": accuracy(records)} | {
        name: accuracy(half) for name, half in halves.items() if half
    }


def _hundredths(text: str) -> float | None:
    """A number, or one per cent sign or more divided by 100; None if it is none."""
    value = number(text.rstrip("%"))
    return value / 100.0 if value is not None and text.endswith("%") else value


CHARTQA = Benchmark(
    title="ChartQA",
    truth=lambda doc: doc["answer"],
    lmms=lmms,
    cambrian=cambrian,
    lmms_figures=figures,
    cambrian_figures=figures,
    metric="relaxed_overall",
)
