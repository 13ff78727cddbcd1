"""What is computed over the members of each region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from gazekit.contracts import Regions


def wide(tensor: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The same numbers in fp32, or in the type they have where that is wider."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def slots(regions: Regions) -> Int[Tensor, "batch token"]:
    """Each token's region; tokens of no region go to one slot behind the last."""
    return torch.where(regions.owner >= 0, regions.owner, regions.count)


def counts(regions: Regions) -> Int[Tensor, "batch region"]:
    """Members at hand, which are fewer than `regions.size` until a region is complete."""
    slot = slots(regions)
    table = slot.new_zeros(slot.shape[0], regions.count + 1)
    return table.scatter_add(1, slot, torch.ones_like(slot))[:, :-1]


def sums(
    values: Float[Tensor, "batch head token dim"], regions: Regions
) -> Float[Tensor, "batch head region dim"]:
    """Adds up each region's members in the order in which they come, so that equal input gives equal bits."""
    batch, heads, _, dim = values.shape
    slot = slots(regions) + torch.arange(batch, device=values.device)[:, None] * (regions.count + 1)
    flat = rearrange(values, "batch head token dim -> (batch token) (head dim)")
    total = add_up(flat, slot.flatten(), batch * (regions.count + 1))
    table = total.view(batch, regions.count + 1, heads, dim)[:, :-1]
    return rearrange(table, "batch region head dim -> batch head region dim")


def add_up(
    values: Float[Tensor, "token width"], slot: Int[Tensor, " token"], size: int
) -> Float[Tensor, "slot width"]:
    """The sum of each slot's values, added in the order in which they come."""
    total = values.new_zeros(size, values.shape[1])
    # On CUDA index_add adds in any order and an accumulating index_put sorts first; on a CPU it is reversed.
    if values.is_cuda:
        return total.index_put((slot,), values, accumulate=True)
    return total.index_add(0, slot, values)


def means(
    values: Float[Tensor, "batch head token dim"], regions: Regions
) -> Float[Tensor, "batch head region dim"]:
    """Each region's mean; zero for a region without members at hand."""
    return sums(values, regions) / counts(regions).clamp_min(1)[:, None, :, None]


def extremes(
    values: Float[Tensor, "batch head token dim"], regions: Regions, how: Literal["amax", "amin"]
) -> Float[Tensor, "batch head region dim"]:
    """Each region's largest or smallest value per channel; zero for a region without members at hand."""
    batch, heads, _, dim = values.shape
    # Tokens of no region may be NaN, which a gradient would carry even through a slot that is thrown away.
    inside = values.masked_fill((regions.owner < 0)[:, None, :, None], 0)
    slot = slots(regions)[:, None, :, None].expand_as(inside)
    far = -torch.inf if how == "amax" else torch.inf
    table = values.new_full((batch, heads, regions.count + 1, dim), far)
    found = table.scatter_reduce(2, slot, inside, reduce=how)[:, :, :-1]
    return found.masked_fill((counts(regions) == 0)[:, None, :, None], 0)


def of_region(
    table: Shaped[Tensor, "batch head region dim"], regions: Regions
) -> Shaped[Tensor, "batch head token dim"]:
    """What a table says of each token's region; zero for tokens of none."""
    index = slots(regions)[:, None, :, None].expand(-1, table.shape[1], -1, table.shape[3])
    return torch.nn.functional.pad(table, (0, 0, 0, 1)).gather(2, index)


@dataclass(frozen=True)
class MemberTable:
    """Every region's members side by side, as long as the largest region.

    Attributes:
        values: What stands for each member, zero where there is none.
        there: True = a member.
    """

    values: Float[Tensor, "batch head region slot dim"]
    there: Bool[Tensor, "batch region slot"]


def member_table(values: Float[Tensor, "batch head token dim"], regions: Regions) -> MemberTable:
    """Lists each region's members in the order in which they come."""
    batch, heads, _, dim = values.shape
    most = int(regions.size.max()) if regions.size.numel() else 0
    place = slots(regions) * most + ranks(regions)
    place = torch.where(regions.owner >= 0, place, regions.count * most)
    size = regions.count * most
    table = values.new_zeros(batch, heads, size + 1, dim)
    table = table.scatter(2, place[:, None, :, None].expand_as(values), values)[:, :, :-1]
    there = torch.zeros(batch, size + 1, dtype=torch.bool, device=values.device)
    there = there.scatter(1, place, True)[:, :-1]
    return MemberTable(
        values=table.view(batch, heads, regions.count, most, dim),
        there=there.view(batch, regions.count, most),
    )


def ranks(regions: Regions) -> Int[Tensor, "batch token"]:
    """How many members of its region come before each token; anything for tokens of no region."""
    slot = slots(regions)
    order = slot.argsort(dim=1, stable=True)
    held = torch.nn.functional.pad(counts(regions), (0, 1))
    begin = held.cumsum(1) - held
    place = torch.arange(slot.shape[1], device=slot.device).expand_as(slot)
    rank = place - begin.gather(1, slot.gather(1, order))
    return torch.zeros_like(slot).scatter(1, order, rank)
