"""How the visual field is divided."""

from gazekit.partition.grid import GridPartition

__all__ = ["GridPartition"]
