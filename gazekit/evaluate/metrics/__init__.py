"""Metrics of sparse visual attention, on torchmetrics."""

from gazekit.evaluate.metrics.attended import AttendedEntries
from gazekit.evaluate.metrics.coverage import MassCoverage, best_mass, mass_of
from gazekit.evaluate.metrics.routing import (
    RoutingAccuracy,
    chance_of_overlap,
    majority_by_chance,
    overlapping_regions,
)
from gazekit.evaluate.metrics.selections import (
    SelectionStatistics,
    chosen_regions,
    head_overlap,
    jaccard,
    selection_entropy,
    step_overlap,
)

__all__ = [
    "AttendedEntries",
    "MassCoverage",
    "RoutingAccuracy",
    "SelectionStatistics",
    "best_mass",
    "chance_of_overlap",
    "chosen_regions",
    "head_overlap",
    "jaccard",
    "majority_by_chance",
    "mass_of",
    "overlapping_regions",
    "selection_entropy",
    "step_overlap",
]
