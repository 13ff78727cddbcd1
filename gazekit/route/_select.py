"""What routers share: who chooses together, which scores are highest, and how selections are joined."""

from __future__ import annotations

import functools
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts import Selection, View, to_heads

Share = Literal["head", "group", "layer"]
Pool = Literal["mean", "max"]

_LOWEST = torch.iinfo(torch.int64).min


def check_count(name: str, value: int | None, least: int = 1) -> None:
    """Refuses a number of regions that is none.

    Raises:
        ValueError: `value` is not a whole number of at least `least`; None passes.
    """
    if value is not None and (not isinstance(value, int) or value < least):
        hint = "; use Gaze(route=None) for dense attention" if name == "k" else ""
        raise ValueError(f"{name} must be at least {least}, got {value}{hint}")


def check_share(share: str, pool: str = "mean") -> None:
    """Refuses ways to choose together that do not exist.

    Raises:
        ValueError: `share` or `pool` is unknown.
    """
    if share not in get_args(Share):
        raise ValueError(
            f'share must be "head" (each query head), "group" (each KV head) or "layer" (all heads), got {share!r}'
        )
    if pool not in get_args(Pool):
        raise ValueError(f'pool must be "mean" or "max" (of the scores of heads that share), got {pool!r}')


def heads_of(share: Share, view: View) -> int:
    """How many heads choose for themselves: the head axis of the selection."""
    return {"head": view.num_heads, "group": view.num_kv_heads, "layer": 1}[share]


def needed(
    scores: Float[Tensor, "batch head row region"] | None, who: str
) -> Float[Tensor, "batch head row region"]:
    """The scores, where there are some.

    Raises:
        ValueError: There are none.
    """
    if scores is None:
        raise ValueError(f"{who} needs scores, got none; set pool, for example MeanPooler()")
    return scores


def shared(
    scores: Float[Tensor, "batch head row region"], heads: int, pool: Pool
) -> Float[Tensor, "batch any_head row region"]:
    """The mean or the maximum of the scores of the heads that choose together, `heads` times."""
    if heads == scores.shape[1]:
        return scores
    grouped = scores.unflatten(1, (heads, -1))
    return grouped.mean(dim=2) if pool == "mean" else grouped.amax(dim=2)


def keep_highest(
    rank: Int[Tensor, "batch #head row region"],
    complete: Bool[Tensor, "batch #head row region"],
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
    keep = opened(k, num_regions, openness)
    num_slots = int(keep[-1])
    if _is_decoding(complete) and bool(complete.all()):
        return Selection(rank.topk(num_slots, dim=-1).indices.to(torch.int32).sort(dim=-1).values)
    best = lowered(rank, complete).topk(num_slots, dim=-1).indices
    of_row = keep.to(rank.device)[complete.sum(dim=-1)][..., None]
    beyond = torch.arange(num_slots, device=rank.device) >= of_row
    index = best.to(torch.int32).masked_fill(beyond, num_regions).sort(dim=-1).values
    return Selection(index.masked_fill(index == num_regions, -1))


def _is_decoding(complete: Tensor) -> bool:
    """Whether a look at the values is worth its while: on a CPU each further step costs a row more than that."""
    return complete.shape[-2] == 1 and complete.device.type == "cpu" and not torch.compiler.is_compiling()


def lowered(
    rank: Int[Tensor, "batch #head row region"], complete: Bool[Tensor, "batch #head row region"]
) -> Int[Tensor, "batch #head row region"]:
    """The ranks, those of incomplete regions below all others."""
    return rank.masked_fill(~complete, _LOWEST)


@functools.lru_cache(maxsize=256)
def opened(k: int, most: int, openness: float) -> Int[Tensor, " count"]:
    """How many of `count` = 0 ... `most` regions are kept at an openness; computed on the CPU, it sets shapes."""
    with torch.inference_mode(False):
        count = torch.arange(most + 1, dtype=torch.float64, device="cpu")
        return torch.minimum(count, k + torch.ceil(openness * (count - k).clamp_min(0))).long()


def selection_of(chosen: Bool[Tensor, "batch #head row region"], num_slots: int) -> Selection:
    """What is chosen, as a selection of `num_slots` slots, or one for each region where that is fewer.

    The number of slots must follow from the part and the regions alone, so that chunks of rows agree in it.
    """
    num_regions = chosen.shape[-1]
    ids = torch.arange(num_regions, dtype=torch.int32, device=chosen.device)
    index = torch.where(chosen, ids, num_regions).sort(dim=-1).values[..., :num_slots]
    return Selection(index.masked_fill(index == num_regions, -1))


def joined(one: Selection, other: Selection, num_regions: int) -> Selection:
    """What either looks at; a head axis of KV heads or 1 is expanded where the other's is longer."""
    heads = max(one.index.shape[1], other.index.shape[1])
    first, second = (to_heads(each.chosen(num_regions), heads) for each in (one, other))
    return selection_of(first | second, one.index.shape[3] + other.index.shape[3])


def rank_of(scores: Float[Tensor, "batch #head row region"]) -> Int[Tensor, "batch #head row region"]:
    """Integers in the order of the scores; of equal scores the lower id ranks higher.

    So ranks differ, and the highest few of them are the same on every device, whatever way they are found.
    fp32 keeps all its bits; of fp64 the last give way to the id.
    """
    if scores.dtype == torch.float64:
        return with_ids(_sortable(scores, torch.int64))
    return with_ids(_sortable(scores.float(), torch.int32).long() << 32)


def ranked(
    scores: Float[Tensor, "batch #head row region"], complete: Bool[Tensor, "batch #head row region"]
) -> Int[Tensor, "batch #head row region"]:
    """`rank_of`, incomplete regions below all others."""
    return lowered(rank_of(scores), complete)


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
