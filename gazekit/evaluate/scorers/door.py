"""The one door to all scorers: `score`, `verdict`, `aggregate`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from random import Random
from typing import Any

from gazekit.evaluate.results import Record
from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import Row
from gazekit.evaluate.scorers.table import BENCHMARKS
from gazekit.evaluate.scorers.verdict import Doc, Judge, Verdict

_SCORES = ("score", "is_correct", "rating", "true_false")
"""What lmms-eval's tasks call the score of a sample in what they log."""

_PREDICTIONS = ("prediction", "pred_answer")
"""Likewise, what was said, or the letter read out of it."""

PROFILES = ("lmms", "cambrian")
"""Whose rules: lmms-eval 0.7.3's, quirks included, or those of Cambrian's own evaluation scripts."""


def find(benchmark: str) -> Benchmark:
    """What is known of a benchmark: its judges, its figures, the one that stands in tables.

    Args:
        benchmark: A task name of lmms-eval, or one of ours (`mathvista_rule`, `cv_bench_ade`, ...).

    Raises:
        ValueError: An unknown name; the message names the nearest.
    """
    if benchmark not in BENCHMARKS:
        near = get_close_matches(benchmark, BENCHMARKS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"benchmark must be one that has a scorer, got {benchmark!r}; the nearest is {near!r}, "
            "all are in gazekit.evaluate.scorers.BENCHMARKS"
        )
    return BENCHMARKS[benchmark]


def verdict(
    benchmark: str,
    prediction: str,
    doc: Doc,
    profile: str = "lmms",
    target: Any = None,
    *,
    generator: Random | None = None,
) -> Verdict:
    """How a prediction is read and what it is worth; `score` with its reasons.

    Args:
        benchmark: lmms-eval's task name.
        prediction: What the model said; blanks around it are dropped first, as lmms-eval and Cambrian do.
        doc: The row of the data set, with lmms-eval's field names; it is not changed.
        profile: Whose rules.
        target: The truth, in the form of lmms-eval's `doc_to_target`; None takes it from the doc.
        generator: For conformance alone, `lmms` profile alone: where lmms-eval guesses a letter, the guess comes from
            here. None, the default, never guesses: what cannot be read is wrong, and says so.

    Raises:
        ValueError: An unknown benchmark or profile, a doc without a field that the scorer needs.
    """
    judge = _judge(benchmark, profile)
    try:
        truth = find(benchmark).truth(doc) if target is None else target
        return judge(prediction.strip(), doc, truth, generator if profile == "lmms" else None)
    except KeyError as missing:
        raise ValueError(
            f"doc must have the field {missing} for {benchmark}, got {sorted(doc)}; docs have the "
            "fields of lmms-eval's data sets"
        ) from missing


def score(benchmark: str, prediction: str, doc: Doc, profile: str = "lmms", target: Any = None) -> float:
    """What one prediction is worth: 1 right, 0 wrong or unreadable, in between for TextVQA.

    Example:
        >>> score("chartqa", "104", {"answer": "100", "type": "human_test"})
        1.0
        >>> score("videomme", "I choose B over D", {"answer": "B"})
        0.0

    Args:
        benchmark: lmms-eval's task name.
        prediction: What the model said; blanks around it are dropped first, as lmms-eval and Cambrian do.
        doc: The row of the data set, with lmms-eval's field names; it is not changed.
        profile: `lmms`: equal to lmms-eval 0.7.3, quirks included, but without its random guesses. `cambrian`: the
            rules of Cambrian's own scripts; the video benchmarks, which those do not have, are as in `lmms`.
        target: The truth, in the form of lmms-eval's `doc_to_target`; None takes it from the doc.

    Raises:
        ValueError: An unknown benchmark or profile, a doc without a field that the scorer needs.
    """
    return verdict(benchmark, prediction, doc, profile, target).score


def aggregate(
    benchmark: str, records: Iterable[Record | Mapping[str, Any]], profile: str = "lmms"
) -> dict[str, float]:
    """The figures of a benchmark over its samples, by lmms-eval's names of metrics, the main one first.

    Figures that a judge would decide end in `_rule`. `parse_failure_rate` is the share of samples that could not be
    read. Order does not matter; duplicates do: leave them out before.

    Example:
        >>> pair = [{"question_id": "1", "category": "count", "score": score} for score in (1.0, 0.0)]
        >>> aggregate("mme", pair)["mme_perception_score"]
        50.0

    Args:
        benchmark: lmms-eval's task name.
        records: Of each sample the fields that its benchmark is grouped by (`category`, `index`, ...) and its `score`
            (and `parsed`, true if left out): as a `Record`, in its `doc`; or as a mapping, all on one level or the
            former under `doc`. A mapping without `score` is scored here, from its `prediction`. What lmms-eval's tasks
            log of a sample will do as well (`is_correct`, `rating` or `true_false`, else `pred_answer`).
        profile: Whose figures.

    Raises:
        ValueError: An unknown benchmark or profile, no records, records without a field that is needed, a group that
            is not whole where the benchmark wants whole ones (MME).
    """
    chosen = find(benchmark)
    _judge(benchmark, profile)
    rows = [_row(benchmark, record, profile) for record in records]
    if not rows:
        raise ValueError(f"records must not be empty, got none for {benchmark}; score some samples first")
    try:
        figures = (chosen.lmms_figures if profile == "lmms" else chosen.cambrian_figures)(rows)
    except KeyError as missing:
        raise ValueError(
            f"records must have the field {missing} that {benchmark} is grouped by, got {sorted(rows[0])}; "
            "take it over from the doc"
        ) from missing
    order = sorted(figures, key=lambda name: name != chosen.metric)
    suffix = "_rule" if chosen.judged else ""
    failures = [not row["parsed"] for row in rows]
    return {f"{name}{suffix}": float(figures[name]) for name in order} | {
        "parse_failure_rate": sum(failures) / len(failures)
    }


def _judge(benchmark: str, profile: str) -> Judge:
    """The judge of a benchmark in a profile."""
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {PROFILES}, got {profile!r}; use 'lmms' for lmms-eval")
    return find(benchmark).lmms if profile == "lmms" else find(benchmark).cambrian


def _row(benchmark: str, record: Record | Mapping[str, Any], profile: str) -> Row:
    """A record's fields on one level, scored."""
    if isinstance(record, Record):
        return {**record.doc, "score": record.score, "parsed": record.parsed}
    row = {**record.get("doc", {}), **record}
    if (scored := next((name for name in _SCORES if name in row), None)) is not None:
        return {"parsed": True, **row, "score": float(row[scored])}
    if (said_in := next((name for name in _PREDICTIONS if name in row), None)) is None:
        raise ValueError(
            f"records must have 'score' or 'prediction', got {sorted(row)}; score() gives the former"
        )
    said = verdict(benchmark, str(row[said_in]), row, profile, row.get("target"))
    return {**row, "score": said.score, "parsed": said.parsed}
