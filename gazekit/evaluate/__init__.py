"""Evaluation (level 3): metrics, and benchmarks run through `generate()`."""

from gazekit.evaluate.metrics import AttendedEntries, RoutingAccuracy

__all__ = ["AttendedEntries", "RoutingAccuracy"]
