"""Evaluation (level 3): metrics, scorers of benchmarks, and benchmarks run through `generate()`."""

from gazekit.evaluate.metrics import AttendedEntries, RoutingAccuracy
from gazekit.evaluate.scorers import Verdict, aggregate, score, verdict

__all__ = ["AttendedEntries", "RoutingAccuracy", "Verdict", "aggregate", "score", "verdict"]
