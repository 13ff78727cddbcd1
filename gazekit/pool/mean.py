"""A region's descriptor as the mean of its keys."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Described, Look, Regions, Rows


@dataclass(frozen=True, kw_only=True)
class MeanPooler:
    """Describes a region by the mean of its keys and scores it by `query . mean`: the paper's descriptor.

    The keys are the cached ones, so they stand after RoPE. Means and scores are fp32 or wider whatever the
    model's dtype. It has no weights and suits every pretrained model; what it cannot see is a single token
    that stands out in a large region.
    """

    def describe(self, look: Look, regions: Regions) -> Described:
        """Mean key of each region, per KV head; zero for a region without members at hand."""
        key = look.key.to(torch.promote_types(look.key.dtype, torch.float32))
        batch, heads, _, dim = key.shape
        slot = torch.where(regions.owner >= 0, regions.owner, regions.count)
        slot = slot + torch.arange(batch, device=slot.device)[:, None] * (regions.count + 1)
        size = batch * (regions.count + 1)
        total = _sum_by(
            slot.flatten(), rearrange(key, "batch head token dim -> (batch token) (head dim)"), size
        )
        members = _sum_by(slot.flatten(), key.new_ones(slot.numel(), 1), size).clamp_min(1)
        mean = (total / members).view(batch, regions.count + 1, heads, dim)[:, :-1]
        return Described({"mean": rearrange(mean, "batch region head dim -> batch head region dim")})

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """`query . mean`, unscaled; heads of a group share their KV head's means, a block's queries have theirs too."""
        mean = described.tensors["mean"]
        query = rows.mean(look.query).to(mean.dtype)
        grouped = rearrange(
            query, "batch (kv_head group) row dim -> batch kv_head (group row) dim", group=look.group
        )
        with torch.autocast(mean.device.type, enabled=False):
            scores = grouped @ mean.transpose(-1, -2)
        return rearrange(
            scores, "batch kv_head (group row) region -> batch (kv_head group) row region", group=look.group
        )


def _sum_by(slot: Tensor, values: Float[Tensor, "token width"], size: int) -> Float[Tensor, "slot width"]:
    """Sums the values of each slot in the order in which they come, so that equal input gives equal bits."""
    total = values.new_zeros(size, values.shape[1])
    # On CUDA index_add adds in any order and an accumulating index_put sorts first; on a CPU it is reversed.
    if values.is_cuda:
        return total.index_put((slot,), values, accumulate=True)
    return total.index_add(0, slot, values)
