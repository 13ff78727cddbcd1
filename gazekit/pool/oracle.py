"""What a region would really get: the ceiling of every pooler."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Described, Look, Regions, Rows
from gazekit.pool._match import dot
from gazekit.pool._members import member_table, wide

# Far below any logit, and finite, so that gradients stay so too.
_NOTHING = -1e30


@dataclass(frozen=True, kw_only=True)
class OraclePooler:
    """Scores a region by the true attention mass of its members: no pooler ranks regions better by mass.

    The score is `logsumexp(scale * q . k) / scale` over the members, so that `scale * score` is the logarithm of
    the region's share of the softmax, up to what all regions of a query have in common. It keeps every key and
    reads every key: it saves nothing, and is there to be compared with.

    Source: the ground truth that SeerAttention distils from, as mass instead of maximum (Gao et al., 2024).
    """

    def describe(self, look: Look, regions: Regions) -> Described:
        """The members' keys side by side, as long as the largest region, and which of them are there."""
        table = member_table(wide(look.key), regions)
        return Described({"key": table.values, "there": table.there[:, None]})

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """`logsumexp(scale * q . k) / scale` over the members; far below everything for an empty region."""
        query, key = rows.mean(look.query), described.tensors["key"]
        there = described.tensors["there"]
        mass = query.new_full((*query.shape[:3], key.shape[2]), _NOTHING, dtype=key.dtype)
        # Slot by slot: all logits at once are as many as dense attention has.
        for slot in range(key.shape[3]):
            logit = look.scale * dot(query, key[:, :, :, slot])
            mass = torch.logaddexp(mass, logit.masked_fill(~there[:, :, None, :, slot], _NOTHING))
        return mass / look.scale
