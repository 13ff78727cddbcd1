"""A region's descriptor as the largest value of each channel of its keys."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Described, Look, Regions, Rows
from gazekit.pool._match import match
from gazekit.pool._members import extremes, wide


@dataclass(frozen=True, kw_only=True)
class MaxPooler:
    """Describes a region by the element-wise maximum of its keys and scores it by `query . max`.

    A single member that stands out survives, where a mean dilutes it; but the maximum is no key that a query
    ever meets, and channels that the query weighs negatively come out wrong way round. Prefer `MinMaxPooler`
    where a bound is wanted: it costs twice the descriptor.

    Source: one of the pooling functions compared by SeerAttention (Gao et al., 2024).
    """

    def describe(self, look: Look, regions: Regions) -> Described:
        """Largest value of each channel over the members, per KV head; zero for a region without members."""
        return Described({"max": extremes(wide(look.key), regions, "amax")})

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """`query . max`, unscaled."""
        return match(rows, look.query, described.tensors["max"])
