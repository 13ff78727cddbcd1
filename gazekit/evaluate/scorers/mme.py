"""MME: yes or no, two questions an image."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import Row, accuracy, grouped, mean
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right

PERCEPTION = (
    *("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR"),
)  # fmt: skip
"""The categories of perception; the four others (commonsense, numbers, translation, code) are cognition."""


def lmms(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """Yes or no, without full stops; a single letter; else what the first four characters hold ("know" is no)."""
    said = prediction.lower().strip().replace(".", "")
    if len(said) == 1:
        read = {"y": "yes", "n": "no"}.get(said)
    else:
        read = next((word for word in ("yes", "no") if word in said[:4]), None)
    if read is None:
        return Verdict(score=0.0, parsed=False)
    return right(read == truth.lower().strip().replace(".", ""), read)


def cambrian(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """Equality, but for case and full stops at the end."""
    said = prediction.lower().rstrip(".")
    if said not in ("yes", "no"):
        return Verdict(score=0.0, parsed=False)
    return right(said == truth.lower(), said)


def lmms_figures(records: Sequence[Row]) -> dict[str, float]:
    """Per category the mean over images of accuracy plus both-right, in points of 100 each; summed.

    Raises:
        ValueError: An image does not have exactly two questions.
    """
    points = {}
    for category, of_category in grouped(records, "category").items():
        pairs = grouped(of_category, "question_id")
        for image, pair in pairs.items():
            if len(pair) != 2:
                raise ValueError(
                    f"records must hold two questions of each image, got {len(pair)} of {image!r} in {category!r}; "
                    "limit MME to an even number of samples"
                )
        points[category] = mean([_points(pair, len(pair)) for pair in pairs.values()])
    return _summed(points)


def cambrian_figures(records: Sequence[Row]) -> dict[str, float]:
    """As lmms-eval's, but an image without its second question counts for what it is."""
    points = {}
    for category, of_category in grouped(records, "category").items():
        both = [_both(pair) for pair in grouped(of_category, "question_id").values()]
        points[category] = 100.0 * (accuracy(of_category) + 2 * sum(both) / len(of_category))
    return _summed(points)


def _both(pair: Sequence[Row]) -> bool:
    """Both questions of an image are right."""
    return len(pair) == 2 and all(record["score"] == 1 for record in pair)


def _points(pair: Sequence[Row], size: int) -> float:
    """0 to 200 points of one image."""
    return 100.0 * _both(pair) + 100.0 * accuracy(pair)


def _summed(points: dict) -> dict[str, float]:
    """Points of categories, summed into perception (0 to 2000) and cognition (0 to 800), as far as there are any."""
    figures: dict[str, float] = {}
    for category, of_category in points.items():
        name = "mme_perception_score" if category in PERCEPTION else "mme_cognition_score"
        figures[name] = figures.get(name, 0.0) + of_category
    return figures


MME = Benchmark(
    title="MME",
    truth=lambda doc: doc["answer"],
    lmms=lmms,
    cambrian=cambrian,
    lmms_figures=lmms_figures,
    cambrian_figures=cambrian_figures,
    metric="mme_perception_score",
    to_column=1.0,
)
