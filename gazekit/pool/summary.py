"""A region as one token: the mean of its keys and of its values."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Described, Look, Regions, Rows, Summary
from gazekit.pool._match import match
from gazekit.pool._members import means, wide


@dataclass(frozen=True, kw_only=True)
class SummaryPooler:
    """Scores as `MeanPooler` does, and keeps the mean value too, so that a region's mean can stand in the softmax.

    With `Gaze(summaries=True)` each query sees every region's mean, chosen or not: a gist of what it did not look
    at. Without it, `MeanPooler` does the same for half the bytes. A mean counts as one token, however many it
    stands for. `CompressionPooler` learns what to keep instead.

    Source: the coarse branch of VSA (Zhang et al., 2025), which attends to cubes' means.
    """

    def describe(self, look: Look, regions: Regions) -> Described:
        """Mean key and mean value of each region, per KV head; zero for a region without members at hand."""
        return Described({"mean": means(wide(look.key), regions), "value": means(wide(look.value), regions)})

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """`query . mean`, unscaled."""
        return match(rows, look.query, described.tensors["mean"])

    def entries(self, described: Described) -> Summary:
        """The means as entries."""
        return Summary(key=described.tensors["mean"], value=described.tensors["value"])
