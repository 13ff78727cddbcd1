"""A region's descriptor as the bounds of each channel of its keys."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Described, Look, Regions, Rows
from gazekit.pool._match import dot
from gazekit.pool._members import extremes, wide


@dataclass(frozen=True, kw_only=True)
class MinMaxPooler:
    """Describes a region by the bounds of its keys and scores it by the best match that fits between them.

    `sum_c max(q_c min_c, q_c max_c)` is never below the score of any member, so that a token which stands out is
    never missed, as it may be by `MeanPooler`. The bound is loose in large regions: Quest's pages hold 16 tokens.

    Source: Quest (Tang et al., 2024), section 3.3 and algorithm 1.
    """

    def describe(self, look: Look, regions: Regions) -> Described:
        """Largest, then smallest value of each channel over the members, per KV head: `2 dim` wide."""
        key = wide(look.key)
        bounds = [extremes(key, regions, "amax"), extremes(key, regions, "amin")]
        return Described({"bounds": torch.cat(bounds, dim=-1)})

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """The upper bound of `query . key` over the members, unscaled."""
        query = rows.mean(look.query)
        # Positive channels are largest at the maximum, negative ones at the minimum.
        return dot(torch.cat([query.clamp_min(0), query.clamp_max(0)], dim=-1), described.tensors["bounds"])
