"""Evaluation (level 4): benchmarks, their scorers and harness, metrics, results and their comparison.

Benchmarks run through `generate()`.
"""

from gazekit.evaluate.comparison import Comparison, Interval, compare
from gazekit.evaluate.glances import Looked, looked
from gazekit.evaluate.harness import Plan, evaluate
from gazekit.evaluate.literature import Published, published
from gazekit.evaluate.metrics import AttendedEntries, MassCoverage, RoutingAccuracy, SelectionStatistics
from gazekit.evaluate.responding import Question, Reply, Responder
from gazekit.evaluate.results import Record, Result
from gazekit.evaluate.scorers import Verdict, aggregate, score, verdict

__all__ = [
    "AttendedEntries",
    "Comparison",
    "Interval",
    "Looked",
    "MassCoverage",
    "Plan",
    "Published",
    "Question",
    "Record",
    "Reply",
    "Responder",
    "Result",
    "RoutingAccuracy",
    "SelectionStatistics",
    "Verdict",
    "aggregate",
    "compare",
    "evaluate",
    "looked",
    "published",
    "score",
    "verdict",
]
