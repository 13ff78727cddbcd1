"""How the visual field is divided."""

from gazekit.partition.grid import GridPartition
from gazekit.partition.run import RunPartition
from gazekit.partition.segment import SegmentPartition
from gazekit.partition.token import TokenPartition

__all__ = ["GridPartition", "RunPartition", "SegmentPartition", "TokenPartition"]
