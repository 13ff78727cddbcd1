"""What a region looks like from afar, and how well it matches a query."""

from gazekit.pool.mean import MeanPooler

__all__ = ["MeanPooler"]
