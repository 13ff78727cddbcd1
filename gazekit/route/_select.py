"""Keeping the highest scores of each row: what the routers of fixed size share."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gazekit.contracts import Selection

Share = Literal["head", "group"]


def check(k: int, share: str) -> None:
    """Refuses what no router of fixed size can do.

    Raises:
        ValueError: `k` is below 1 or `share` is unknown.
    """
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"k must be at least 1, got {k}; use Gaze(route=None) for dense attention")
    if share not in get_args(Share):
        raise ValueError(f'share must be "head" (each query head) or "group" (each KV head), got {share!r}')


def slots(k: int, openness: float, num_regions: int) -> int:
    """Slots that hold every row's answer: a number that the scores do not change."""
    return min(num_regions, k + math.ceil(openness * max(num_regions - k, 0)))


def keep_highest(
    scores: Float[Tensor, "batch #head row region"],
    complete: Bool[Tensor, "batch row region"],
    k: int,
    openness: float,
) -> Selection:
    """The `k + ceil(openness * (complete regions of the row - k))` highest complete regions of each row.

    Equal scores go to the lower id. The number depends on the row alone, so that a batch equals its samples.
    """
    num_regions = scores.shape[-1]
    num_slots = slots(k, openness, num_regions)
    ranked = scores.clamp_min(torch.finfo(scores.dtype).min).masked_fill(~complete[:, None], -math.inf)
    best = ranked.sort(dim=-1, descending=True, stable=True).indices[..., :num_slots]
    available = complete.sum(dim=-1)
    opened = torch.ceil(openness * (available - k).clamp_min(0).double()).long()
    keep = torch.minimum(k + opened, available)[:, None, :, None]
    beyond = torch.arange(num_slots, device=scores.device) >= keep
    index = best.masked_fill(beyond, num_regions).sort(dim=-1).values
    return Selection(index.masked_fill(index == num_regions, -1).to(torch.int32))


def mean_of_groups(
    scores: Float[Tensor, "batch head row region"], num_kv_heads: int
) -> Float[Tensor, "batch kv_head row region"]:
    """The mean of the scores of each KV head's query heads."""
    return scores.unflatten(1, (num_kv_heads, -1)).mean(dim=2)
