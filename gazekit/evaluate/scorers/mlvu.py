"""MLVU: long videos, the mean of task types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.letters import extract_letter
from gazekit.evaluate.scorers.means import Row, accuracy, grouped
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right

DEV = ("anomaly_reco", "count", "ego", "needle", "order", "plotQA", "topic_reasoning")
"""Task types of the dev split."""

TEST = (
    *("anomaly_reco", "count", "ego", "needleQA", "order", "plotQA", "sportsQA", "topic_reasoning", "tutorialQA"),
)  # fmt: skip
"""Task types of the test split."""


def judge(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """The shared extractor, A to D; in the test split too, whose questions have six options."""
    letter = extract_letter(prediction, "ABCD")
    return right(letter == truth, letter) if letter else Verdict(score=0.0, parsed=False)


def macro(task_types: Sequence[str]) -> Callable[[Sequence[Row]], dict[str, float]]:
    """The figures of a split with these task types.

    `mlvu_percetion_score` (lmms-eval's spelling): the mean of the per cents of right answers per task type. A type
    without records counts 0, so that limited runs look low.
    """

    def figures(records: Sequence[Row]) -> dict[str, float]:
        groups = grouped(records, "task_type")
        if strange := [task for task in groups if task not in task_types]:
            raise ValueError(
                f"task_type must be one of {tuple(task_types)}, got {strange[0]!r}; try the other split"
            )
        shares = {task: 100.0 * accuracy(groups.get(task, [])) for task in task_types}
        return {
            "mlvu_percetion_score": sum(shares.values()) / len(shares),
            **{f"mlvu_percetion_score_{task}": shares[task] for task in task_types if task in groups},
        }

    return figures


MLVU_DEV = Benchmark(
    title="MLVU",
    truth=lambda doc: doc["answer"],
    lmms=judge,
    cambrian=judge,
    lmms_figures=macro(DEV),
    cambrian_figures=macro(DEV),
    metric="mlvu_percetion_score",
    to_column=1.0,
)
MLVU_TEST = replace(MLVU_DEV, lmms_figures=macro(TEST), cambrian_figures=macro(TEST))
