"""Evaluation (level 3): metrics, results and their comparison, and benchmarks run through `generate()`."""

from gazekit.evaluate.comparison import Comparison, Interval, compare
from gazekit.evaluate.glances import Looked, looked
from gazekit.evaluate.metrics import AttendedEntries, MassCoverage, RoutingAccuracy, SelectionStatistics
from gazekit.evaluate.results import Record, Result

__all__ = [
    "AttendedEntries",
    "Comparison",
    "Interval",
    "Looked",
    "MassCoverage",
    "Record",
    "Result",
    "RoutingAccuracy",
    "SelectionStatistics",
    "compare",
    "looked",
]
