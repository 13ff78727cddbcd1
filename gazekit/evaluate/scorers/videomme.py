"""Video-MME: four options about short, medium and long videos."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.letters import extract_letter
from gazekit.evaluate.scorers.means import Row, accuracy, grouped
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right


def judge(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """The shared extractor, A to D."""
    letter = extract_letter(prediction, "ABCD")
    return right(letter.lower() == truth.lower(), letter) if letter else Verdict(score=0.0, parsed=False)


def figures(records: Sequence[Row]) -> dict[str, float]:
    """`videomme_perception_score`: per cent of right answers, over all and, where known, per `duration`."""
    known = [record for record in records if "duration" in record]
    per_duration = {
        f"videomme_perception_score_{duration}": 100.0 * accuracy(of_duration)
        for duration, of_duration in grouped(known, "duration").items()
    }
    return {"videomme_perception_score": 100.0 * accuracy(records), **per_duration}


VIDEOMME = Benchmark(
    title="VideoMME",
    truth=lambda doc: doc["answer"],
    lmms=judge,
    cambrian=judge,
    lmms_figures=figures,
    cambrian_figures=figures,
    metric="videomme_perception_score",
    to_column=1.0,
)
