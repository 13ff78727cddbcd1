"""A region's descriptor as the mean of its keys."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Described, Look, Regions, Rows
from gazekit.pool._match import match
from gazekit.pool._members import means, wide


@dataclass(frozen=True, kw_only=True)
class MeanPooler:
    """Describes a region by the mean of its keys and scores it by `query . mean`: the paper's descriptor.

    The keys are the cached ones, so they stand after RoPE. Means and scores are fp32 or wider whatever the
    model's dtype. It has no weights and suits every pretrained model; what it cannot see is a single token
    that stands out in a large region.

    Source: Song et al. (2026), equation 2; also the gate of MoBA (Lu et al., 2025).
    """

    def describe(self, look: Look, regions: Regions) -> Described:
        """Mean key of each region, per KV head; zero for a region without members at hand."""
        return Described({"mean": means(wide(look.key), regions)})

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """`query . mean`, unscaled; heads of a group share their KV head's means."""
        return match(rows, look.query, described.tensors["mean"])
