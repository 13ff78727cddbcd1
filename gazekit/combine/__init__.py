"""How the answers of several branches become one."""

from gazekit.combine.gated import GatedCombine
from gazekit.combine.sum import SumCombine

__all__ = ["GatedCombine", "SumCombine"]
