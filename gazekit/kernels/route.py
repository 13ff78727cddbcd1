"""How well regions match queries, and the highest few scores of each row, exactly, whatever their number."""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float, Int32
from torch import Tensor

_BLOCK = 1024
_REGIONS = 32


def scores(
    query: Float[Tensor, "batch head dim"], descriptor: Float[Tensor, "batch kv_head region dim"]
) -> Float[Tensor, "batch head region"]:
    """Equals `naive.scores`, where the arguments are described; sums in fp32.

    Each program reads a few descriptors of a KV head once for all query heads of its group.
    """
    batch, heads, dim = query.shape
    kv_heads, regions = descriptor.shape[1:3]
    out = torch.empty(batch, heads, regions, dtype=torch.float32, device=query.device)
    if out.numel():
        scores_kernel[(triton.cdiv(regions, _REGIONS), batch * kv_heads)](
            query.contiguous(), descriptor.contiguous(), out, regions, GROUP=heads // kv_heads, DIM=dim,
            BLOCK_DIM=triton.next_power_of_2(dim), BLOCK=_REGIONS,
        )  # fmt: skip
    return out


@triton.jit(do_not_specialize=["regions"])
@no_type_check
def scores_kernel(
    query, descriptor, out, regions,
    GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK_DIM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The scores of a few regions of one sample and KV head."""
    job = tl.program_id(1).to(tl.int64)
    region, column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, BLOCK_DIM)
    rows = descriptor + (job * regions + region[:, None]) * DIM + column[None, :]
    seen = tl.load(rows, mask=(region[:, None] < regions) & (column[None, :] < DIM), other=0.0).to(tl.float32)
    for member in tl.static_range(GROUP):
        head = job * GROUP + member
        asked = tl.load(query + head * DIM + column, mask=column < DIM, other=0.0).to(tl.float32)
        score = tl.sum(seen * asked[None, :], axis=1)
        tl.store(out + head * regions + region, score, mask=region < regions)


def select(
    scores: Float[Tensor, "batch #head row region"], complete: Bool[Tensor, "batch row region"], k: int
) -> Int32[Tensor, "batch #head row slot"]:
    """Equals `naive.select` at openness 0, where the arguments are described. One program for each row of each head.

    The k-th highest score is found digit by digit, eight bits at a time, by counting how often each digit occurs; so
    no row is sorted, and neither k nor the number of regions bounds anything but the time.
    """
    batch, heads, rows, regions = scores.shape
    slots = min(k, regions)
    index = torch.empty(batch, heads, rows, slots, dtype=torch.int32, device=scores.device)
    if index.numel():
        select_kernel[(batch * heads * rows,)](
            scores.contiguous(), complete.contiguous(), index, heads, rows, regions, slots, BLOCK=_BLOCK
        )
    return index


@triton.jit
@no_type_check
def sortable(score):
    """fp32 as unsigned integers of the same order; both zeros are one."""
    bits = tl.where(score == 0.0, 0.0, score).to(tl.uint32, bitcast=True)
    return bits ^ tl.where(bits >> 31 != 0, 0xFFFFFFFF, 0x80000000)


@triton.jit(do_not_specialize=["heads", "rows", "regions", "slots"])
@no_type_check
def select_kernel(scores, complete, index, heads, rows, regions, slots, BLOCK: tl.constexpr):
    """The selection of one row of one head."""
    job = tl.program_id(0).to(tl.int64)
    scores += job * regions
    complete += (job // (heads * rows) * rows + job % rows) * regions
    index += job * slots
    count = 0
    for start in range(0, regions, BLOCK):
        region = start + tl.arange(0, BLOCK)
        count += tl.sum(tl.load(complete + region, mask=region < regions, other=0).to(tl.int32), axis=0)
    keep = tl.minimum(slots, count)

    # `least` grows to the lowest score that is kept; `ties` counts how many that equal it are.
    least = tl.full([], 0, dtype=tl.uint32)
    ties = keep
    digits = tl.arange(0, 256)
    for step in tl.static_range(4):
        often = tl.zeros([256], dtype=tl.int32)
        for start in range(0, regions, BLOCK):
            region = start + tl.arange(0, BLOCK)
            real = region < regions
            value = sortable(tl.load(scores + region, mask=real, other=0.0)) >> (24 - 8 * step)
            may = real & (tl.load(complete + region, mask=real, other=0) != 0) & (value >> 8 == least)
            often += tl.histogram((value & 255).to(tl.int32), 256, mask=may)
        above = tl.sum(often, axis=0) - tl.cumsum(often, axis=0)
        here = (above < ties) & (above + often >= ties)
        least = (least << 8) | tl.sum(tl.where(here, digits, 0), axis=0).to(tl.uint32)
        ties -= tl.sum(tl.where(here, above, 0), axis=0)

    taken, equal = 0, 0
    for start in range(0, regions, BLOCK):
        region = start + tl.arange(0, BLOCK)
        real = region < regions
        may = real & (tl.load(complete + region, mask=real, other=0) != 0)
        value = sortable(tl.load(scores + region, mask=real, other=0.0))
        tied = (may & (value == least)).to(tl.int32)
        rank = equal + tl.cumsum(tied, axis=0)
        take = ((may & (value > least)) | ((tied > 0) & (rank <= ties))).to(tl.int32)
        tl.store(index + taken + tl.cumsum(take, axis=0) - 1, region, mask=take > 0)
        taken += tl.sum(take, axis=0)
        equal += tl.sum(tied, axis=0)
    for start in range(0, slots, BLOCK):
        slot = start + tl.arange(0, BLOCK)
        tl.store(index + slot, tl.full([BLOCK], -1, dtype=tl.int32), mask=(slot >= keep) & (slot < slots))
