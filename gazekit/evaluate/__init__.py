"""Evaluation (level 3): metrics, scorers of benchmarks, and benchmarks run through `generate()`."""

from gazekit.evaluate.literature import Published, published
from gazekit.evaluate.metrics import AttendedEntries, RoutingAccuracy
from gazekit.evaluate.scorers import Verdict, aggregate, score, verdict

__all__ = [
    "AttendedEntries", "Published", "RoutingAccuracy", "Verdict", "aggregate", "published", "score", "verdict",
]  # fmt: skip
