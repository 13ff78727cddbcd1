"""What the query heads of a KV head look at, as one list: who looks at what, and how far the list has come."""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Int
from torch import Tensor

from gazekit.kernels.step import Union

_BLOCK = 1024


def unite(
    index: Int[Tensor, "batch index_head slot"],
    row: Int[Tensor, " batch"],
    begin: Int[Tensor, "batch #kv_head region"],
    count: Int[Tensor, "batch #kv_head region"],
    heads: int,
    kv_heads: int,
) -> Union:
    """Equals `naive.unite`, where the arguments are described. One program for each sample and KV head."""
    members = max(1, index.shape[1] // kv_heads)
    batch, regions, slots = index.shape[0], begin.shape[2], index.shape[2]
    places = max(1, min(regions, members * slots))
    shift, bits, ends = (
        torch.empty(batch, kv_heads, places, dtype=dtype, device=index.device)
        for dtype in (torch.int64, torch.int32, torch.int32)
    )
    listed = torch.empty(batch, kv_heads, dtype=torch.int32, device=index.device)
    unite_kernel[(batch * kv_heads,)](
        index.contiguous(), row, begin.contiguous(), count.contiguous(), shift, bits, ends, listed,
        index.shape[1], slots, slots.bit_length(), regions, places, row.stride(0), kv_heads,
        REGION_HEADS=begin.shape[1], MEMBERS=members, PER_MEMBER=heads // kv_heads // members, BLOCK=_BLOCK,
        num_warps=8,
    )  # fmt: skip
    return Union(shift, bits, ends, listed)


@triton.jit
@no_type_check
def first_not_below(values, length, steps, wanted):
    """How many of `length` ascending values lie below each of `wanted`; negative values stand for none, at the end.

    `steps` is the bit length of `length`.
    """
    found = tl.zeros_like(wanted)
    for step in range(steps):
        probe = found + (1 << (steps - 1 - step))
        inside = probe <= length
        value = tl.load(values + probe - 1, mask=inside, other=-1)
        found = tl.where(inside & (value >= 0) & (value < wanted), probe, found)
    return found


@triton.jit(
    do_not_specialize=["slots", "steps", "regions", "places", "row_stride"],
    do_not_specialize_on_alignment=["row"],
)
@no_type_check
def unite_kernel(
    index, row, begin, count, shift, bits, ends, listed,
    index_heads, slots, steps, regions, places, row_stride, kv_heads,
    REGION_HEADS: tl.constexpr, MEMBERS: tl.constexpr, PER_MEMBER: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The list of one sample and KV head, a block of regions at a time."""
    job = tl.program_id(0).to(tl.int64)
    sample, head = job // kv_heads, job % kv_heads
    routes = tl.load(row + sample * row_stride) >= 0
    home = sample * REGION_HEADS + (head if REGION_HEADS > 1 else 0)
    # The selection's heads are query heads, KV heads or one for all.
    own = head * MEMBERS if MEMBERS > 1 else head * index_heads // kv_heads
    chosen_of = index + (sample * index_heads + own) * slots
    done, tokens = 0, 0
    for start in range(0, regions, BLOCK):
        region = start + tl.arange(0, BLOCK)
        real = region < regions
        looked = tl.zeros([BLOCK], dtype=tl.int32)
        for member in tl.static_range(MEMBERS):
            values = chosen_of + member * slots
            place = first_not_below(values, slots, steps, region)
            at = tl.load(values + place, mask=place < slots, other=-1)
            looked |= tl.where(at == region, ((1 << PER_MEMBER) - 1) << (member * PER_MEMBER), 0)
        size = tl.load(count + home * regions + region, mask=real, other=0).to(tl.int32)
        taken = ((looked != 0) & real & routes & (size > 0)).to(tl.int32)
        size *= taken
        end = tokens + tl.cumsum(size, axis=0)
        place = job * places + done + tl.cumsum(taken, axis=0) - 1
        first = tl.load(begin + home * regions + region, mask=taken > 0, other=0)
        tl.store(shift + place, first - (end - size), mask=taken > 0)
        tl.store(bits + place, looked, mask=taken > 0)
        tl.store(ends + place, end, mask=taken > 0)
        done += tl.sum(taken, axis=0)
        tokens += tl.sum(size, axis=0)
    tl.store(listed + job, done)
