"""Keeping the highest scores of each row: what the routers of fixed size share."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts import Selection

Share = Literal["head", "group"]

_LOWEST = torch.iinfo(torch.int64).min


def check(k: int, share: str) -> None:
    """Refuses what no router of fixed size can do.

    Raises:
        ValueError: `k` is below 1 or `share` is unknown.
    """
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"k must be at least 1, got {k}; use Gaze(route=None) for dense attention")
    if share not in get_args(Share):
        raise ValueError(f'share must be "head" (each query head) or "group" (each KV head), got {share!r}')


def keep_highest(
    rank: Int[Tensor, "batch #head row region"],
    complete: Bool[Tensor, "batch row region"],
    k: int,
    openness: float,
) -> Selection:
    """The `k + ceil(openness * (complete regions of the row - k))` highest complete regions of each row.

    The number depends on the row alone, so that a batch equals its samples one by one.

    Args:
        rank: From `rank_of`, all different within a row.
        complete: What may be chosen.
        k: Regions at openness 0.
        openness: From 0 to 1.
    """
    num_regions = rank.shape[-1]
    count = torch.arange(num_regions + 1, dtype=torch.float64)
    keep = torch.minimum(count, k + torch.ceil(openness * (count - k).clamp_min(0))).long()
    num_slots = int(keep[-1])
    best = rank.masked_fill(~complete[:, None], _LOWEST).topk(num_slots, dim=-1).indices
    of_row = keep.to(rank.device)[complete.sum(dim=-1)][:, None, :, None]
    beyond = torch.arange(num_slots, device=rank.device) >= of_row
    index = best.to(torch.int32).masked_fill(beyond, num_regions).sort(dim=-1).values
    return Selection(index.masked_fill(index == num_regions, -1))


def rank_of(scores: Float[Tensor, "batch #head row region"]) -> Int[Tensor, "batch #head row region"]:
    """Integers in the order of the scores; of equal scores the lower id ranks higher.

    So ranks differ, and the highest few of them are the same on every device, whatever way they are found.
    fp32 keeps all its bits; of fp64 the last give way to the id.
    """
    if scores.dtype == torch.float64:
        return with_ids(_sortable(scores, torch.int64))
    return with_ids(_sortable(scores.float(), torch.int32).long() << 32)


def with_ids(order: Int[Tensor, "*rows region"]) -> Int[Tensor, "*rows region"]:
    """The same order, its lowest bits replaced by the ids, counted down."""
    num_regions = order.shape[-1]
    bits = max(num_regions - 1, 0).bit_length()
    ids = torch.arange(num_regions - 1, -1, -1, device=order.device)
    return ((order >> bits) << bits) | ids


def _sortable(scores: Float[Tensor, "*shape"], integer: torch.dtype) -> Int[Tensor, "*shape"]:
    """The bits of floating-point numbers as integers of the same order; both zeros are one."""
    bits = (scores + 0.0).view(integer)
    return bits ^ ((bits >> (8 * integer.itemsize - 1)) & torch.iinfo(integer).max)


def mean_of_groups(
    scores: Float[Tensor, "batch head row region"], num_kv_heads: int
) -> Float[Tensor, "batch kv_head row region"]:
    """The mean of the scores of each KV head's query heads."""
    return scores.unflatten(1, (num_kv_heads, -1)).mean(dim=2)
