"""Evaluation (level 3): metrics, scorers of benchmarks, results and their comparison, and what is published.

Benchmarks run through `generate()`.
"""

from gazekit.evaluate.comparison import Comparison, Interval, compare
from gazekit.evaluate.glances import Looked, looked
from gazekit.evaluate.literature import Published, published
from gazekit.evaluate.metrics import AttendedEntries, MassCoverage, RoutingAccuracy, SelectionStatistics
from gazekit.evaluate.results import Record, Result
from gazekit.evaluate.scorers import Verdict, aggregate, score, verdict

__all__ = [
    "AttendedEntries",
    "Comparison",
    "Interval",
    "Looked",
    "MassCoverage",
    "Published",
    "Record",
    "Result",
    "RoutingAccuracy",
    "SelectionStatistics",
    "Verdict",
    "aggregate",
    "compare",
    "looked",
    "published",
    "score",
    "verdict",
]
