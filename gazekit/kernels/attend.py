"""Attention of one query per sample over a list of regions and the free entries, in pieces."""

from __future__ import annotations

import math
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from gazekit.kernels.step import Facts, Partial, Union
from gazekit.kernels.union import first_not_below

_ROW_BYTES = 512


def attend_pieces(
    query: Float[Tensor, "batch head dim"],
    key: Float[Tensor, "batch kv_head entry dim"],
    value: Float[Tensor, "batch kv_head entry value_dim"],
    union: Union,
    asking: Facts,
    free: Facts,
    free_begin: int,
    scale: float,
    pieces: int,
) -> Partial:
    """Equals `naive.attend`, where the arguments are described, once the pieces are put together.

    Each program takes an equal share of the tokens that a KV head's list holds, and of the free entries behind them,
    and reads every row once for all query heads of the group. A token's region is found by bisection among the ends of
    the list, so that regions of any size lie side by side in a tile and none is padded.
    """
    batch, heads, dim = query.shape
    kv_heads, value_dim, frees = key.shape[1], value.shape[3], free.kind.shape[2]
    out = torch.empty(batch, heads, pieces, value_dim, dtype=torch.float32, device=query.device)
    lse = torch.empty(batch, heads, pieces, dtype=torch.float32, device=query.device)
    places = union.ends.shape[2]
    # Two tiles of keys and values must fit a processor's shared memory, of which small GPUs have 99 KiB.
    block = 64 if max(dim, value_dim) * key.element_size() <= _ROW_BYTES else 32
    attend_kernel[(pieces, batch * kv_heads)](
        query, key, value, union.shift, union.heads, union.ends, union.regions,
        asking.kind, asking.document, asking.order, free.kind, free.document, free.order, out, lse,
        frees, free_begin, places, places.bit_length(), kv_heads, scale / math.log(2),
        *query.stride()[:2], *key.stride()[:3], *value.stride()[:3],
        asking.kind.stride(0), *_strides(free),
        GROUP=heads // kv_heads, PIECES=pieces, DIM=dim, VALUE_DIM=value_dim,
        BLOCK_GROUP=max(16, triton.next_power_of_2(heads // kv_heads)),
        BLOCK_DIM=max(16, triton.next_power_of_2(dim)), BLOCK_VALUE=max(16, triton.next_power_of_2(value_dim)),
        BLOCK=block, num_warps=4, num_stages=1,
    )  # fmt: skip
    return Partial(out, lse)


def _strides(free: Facts) -> tuple[int, int]:
    """From one sample to the next, and from one KV head to the next where their entries differ."""
    return free.kind.stride(0), free.kind.stride(1) if free.kind.shape[1] > 1 else 0


@triton.jit
@no_type_check
def locate(
    start, stop, inside, ends, shift, bits, length, places, steps,
    free_kind, free_document, free_order, kind, document, order, free_begin, BLOCK: tl.constexpr,
):  # fmt: skip
    """Of each token of a tile: its entry, the heads that look at it as a member, whether all see it as a free one."""
    token = start + tl.arange(0, BLOCK)
    is_member = token < tl.minimum(inside, stop)
    place = tl.minimum(first_not_below(ends, length, steps, token + 1), places - 1)
    moved = tl.load(shift + place, mask=is_member, other=0)
    looks = tl.load(bits + place, mask=is_member, other=0)
    nth = token - inside
    is_free = (nth >= 0) & (token < stop)
    seen = is_free & (tl.load(free_kind + nth, mask=is_free, other=0) != 0) & (kind != 0)
    seen &= tl.load(free_document + nth, mask=is_free, other=0) == document
    seen &= tl.load(free_order + nth, mask=is_free, other=0) <= order
    return tl.where(is_member, token + moved, free_begin + nth), looks, seen


# Whatever changes from step to step must not have a variant of the kernel compiled.
@triton.jit(
    do_not_specialize=["frees", "free_begin", "places", "steps", "asking_batch", "free_batch", "free_head"],
    do_not_specialize_on_alignment=[
        "asking_kind",
        "asking_document",
        "asking_order",
        "free_kind",
        "free_document",
        "free_order",
    ],
)
@no_type_check
def attend_kernel(
    query, key, value, shift, bits, ends, listed,
    asking_kind, asking_document, asking_order, free_kind, free_document, free_order, out, lse,
    frees, free_begin, places, steps, kv_heads, scale,
    query_batch, query_head, key_batch, key_head, key_row, value_batch, value_head, value_row,
    asking_batch, free_batch, free_head,
    GROUP: tl.constexpr, PIECES: tl.constexpr, DIM: tl.constexpr, VALUE_DIM: tl.constexpr,
    BLOCK_GROUP: tl.constexpr, BLOCK_DIM: tl.constexpr, BLOCK_VALUE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One piece of the entries of one sample and KV head."""
    piece, job = tl.program_id(0), tl.program_id(1).to(tl.int64)
    sample, head = job // kv_heads, job % kv_heads
    member, column, wide = tl.arange(0, BLOCK_GROUP), tl.arange(0, BLOCK_DIM), tl.arange(0, BLOCK_VALUE)
    asked = query + sample * query_batch + (head * GROUP + member[:, None]) * query_head + column[None, :]
    q = tl.load(asked, mask=(member[:, None] < GROUP) & (column[None, :] < DIM), other=0.0)
    kind = tl.load(asking_kind + sample * asking_batch)
    document = tl.load(asking_document + sample * asking_batch)
    order = tl.load(asking_order + sample * asking_batch)
    key += sample * key_batch + head * key_head
    value += sample * value_batch + head * value_head
    free = sample * free_batch + head * free_head
    length = tl.load(listed + job)
    ends, shift, bits = ends + job * places, shift + job * places, bits + job * places
    inside = tl.load(ends + length - 1, mask=length > 0, other=0)
    # Equal shares in whole tiles; where there are fewer tiles than pieces, the last pieces have none.
    total = inside + frees
    share = tl.cdiv(tl.cdiv(total, PIECES), BLOCK) * BLOCK
    begin, stop = piece * share, tl.minimum((piece + 1) * share, total)

    peak = tl.full([BLOCK_GROUP], float("-inf"), dtype=tl.float32)
    weight = tl.zeros([BLOCK_GROUP], dtype=tl.float32)
    mean = tl.zeros([BLOCK_GROUP, BLOCK_VALUE], dtype=tl.float32)
    entry, looks, seen = locate(
        begin, stop, inside, ends, shift, bits, length, places, steps,
        free_kind + free, free_document + free, free_order + free, kind, document, order, free_begin, BLOCK,
    )  # fmt: skip
    for start in range(begin, stop, BLOCK):
        read = (seen | (looks != 0))[:, None]
        k = tl.load(
            key + entry[:, None] * key_row + column[None, :], mask=read & (column[None, :] < DIM), other=0.0
        )
        v = tl.load(
            value + entry[:, None] * value_row + wide[None, :],
            mask=read & (wide[None, :] < VALUE_DIM),
            other=0.0,
        )
        # The bisection for the next tile is on its way while the rows of this one are.
        next_entry, next_looks, next_seen = locate(
            start + BLOCK, stop, inside, ends, shift, bits, length, places, steps,
            free_kind + free, free_document + free, free_order + free, kind, document, order, free_begin, BLOCK,
        )  # fmt: skip
        logit = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        mine = ((looks[None, :] >> member[:, None]) & 1) > 0
        logit = tl.where(mine | seen[None, :], logit, float("-inf"))
        higher = tl.maximum(peak, tl.max(logit, axis=1))
        # A head that has seen nothing yet has no peak to subtract.
        level = tl.where(higher == float("-inf"), 0.0, higher)
        grown = tl.exp2(logit - level[:, None])
        faded = tl.exp2(peak - level)
        mean = mean * faded[:, None] + tl.dot(grown.to(v.dtype), v, input_precision="ieee")
        weight = weight * faded + tl.sum(grown, axis=1)
        peak = higher
        entry, looks, seen = next_entry, next_looks, next_seen

    blind = weight == 0.0
    mean = tl.where(blind[:, None], 0.0, mean / tl.where(blind, 1.0, weight)[:, None])
    total_of = tl.where(blind, float("-inf"), peak + tl.log2(tl.where(blind, 1.0, weight)))
    at = (sample * kv_heads * GROUP + head * GROUP + member) * PIECES + piece
    tl.store(lse + at, total_of, mask=member < GROUP)
    kept = (member[:, None] < GROUP) & (wide[None, :] < VALUE_DIM)
    tl.store(out + at[:, None] * VALUE_DIM + wide[None, :], mean, mask=kept)
