"""Metrics of sparse visual attention, on torchmetrics."""

from gazekit.evaluate.metrics.attended import AttendedEntries
from gazekit.evaluate.metrics.routing import RoutingAccuracy, chance_of_overlap, overlapping_regions

__all__ = ["AttendedEntries", "RoutingAccuracy", "chance_of_overlap", "overlapping_regions"]
