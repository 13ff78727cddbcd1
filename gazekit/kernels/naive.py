"""What each kernel must equal, in plain torch."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.kernels.step import Facts, Partial, Union


class TokenFacts(NamedTuple):
    """What is known of tokens: the integers of `gazekit.contracts.Tokens` that say who may see whom."""

    kind: Int[Tensor, "batch #kv_head token"]
    unit: Int[Tensor, "batch #kv_head token"]
    document: Int[Tensor, "batch #kv_head token"]
    order: Int[Tensor, "batch #kv_head token"]


def decode(
    query: Float[Tensor, "batch head dim"],
    key: Float[Tensor, "batch kv_head entry dim"],
    value: Float[Tensor, "batch kv_head entry value_dim"],
    begin: Int[Tensor, "batch #kv_head region"],
    count: Int[Tensor, "batch #kv_head region"],
    index: Int[Tensor, "batch index_head slot"],
    row: Int[Tensor, " batch"],
    free_begin: int,
    asking: TokenFacts,
    asked: TokenFacts,
    confined: frozenset[int],
    scale: float,
) -> Float[Tensor, "batch head value_dim"]:
    """Attention of one query per sample, in fp32, head by head.

    Args:
        query: One per sample and head.
        key: Heads not repeated.
        value: Aligned with `key`.
        begin: First entry of each region; its entries lie one after another.
        count: Entries of each region.
        index: Regions that each head looks at, -1 = empty; the head axis counts heads, KV heads or 1.
        row: The row of each query, -1 = it has none and looks at no region.
        free_begin: First entry that is in no region, as all behind it are.
        asking: What each query is.
        asked: What each entry is.
        confined: Kinds of queries that see entries of their own unit only.
        scale: Factor on the logits.

    Returns:
        In the dtype of `value`; zeros where nothing is in view.
    """
    batch, heads, _ = query.shape
    kv_heads = key.shape[1]
    out = torch.zeros(batch, heads, value.shape[3], dtype=torch.float32)
    for b in range(batch):
        for h in range(heads):
            kv = h * kv_heads // heads
            at = kv if begin.shape[1] > 1 else 0
            entries: list[int] = []
            for region in index[b, h * index.shape[1] // heads].tolist():
                if region >= 0 and row[b] >= 0:
                    first = int(begin[b, at, region])
                    entries += range(first, first + int(count[b, at, region]))
            entries += [
                e for e in range(free_begin, key.shape[2]) if _sees(asking, asked, confined, b, kv, e)
            ]
            if entries:
                logits = scale * (key[b, kv, entries].float() @ query[b, h].float())
                out[b, h] = logits.softmax(-1) @ value[b, kv, entries].float()
    return out.to(value.dtype)


def _sees(
    asking: TokenFacts, asked: TokenFacts, confined: frozenset[int], b: int, kv: int, entry: int
) -> bool:
    """Both real, same document, the entry not later; for confined kinds of queries their own unit only."""
    query = [int(field[b, 0, 0]) for field in asking]
    key = [int(field[b, kv if field.shape[1] > 1 else 0, entry]) for field in asked]
    real = query[0] != 0 and key[0] != 0
    inside = query[0] not in confined or query[1] == key[1]
    return real and inside and query[2] == key[2] and key[3] <= query[3]


def scores(
    query: Float[Tensor, "batch head dim"], descriptor: Float[Tensor, "batch kv_head region dim"]
) -> Float[Tensor, "batch head region"]:
    """How well each region's descriptor matches each query: their product in fp32, unscaled.

    Args:
        query: One per sample and head.
        descriptor: Query heads of a group share those of their KV head.
    """
    group = query.shape[1] // descriptor.shape[1]
    return torch.einsum("bhd,bhrd->bhr", query.float(), descriptor.repeat_interleave(group, dim=1))


def select(
    scores: Float[Tensor, "batch #head row region"],
    complete: Bool[Tensor, "batch row region"],
    k: int,
    openness: float = 0.0,
) -> Int[Tensor, "batch #head row slot"]:
    """The `k + ceil(openness * (complete regions of the row - k))` highest complete regions of each row.

    Args:
        scores: In fp32, none of them NaN; of equal ones the lower region goes first.
        complete: True = the row may look at the region.
        k: Regions of a row at openness 0.
        openness: From 0 to 1.

    Returns:
        Region ids, ascending; -1 where a row has fewer than the most there can be.
    """
    opened = lambda count: min(count, k + math.ceil(openness * max(count - k, 0)))  # noqa: E731
    batch, heads, rows, regions = scores.shape
    index = torch.full((batch, heads, rows, opened(regions)), -1, dtype=torch.int32)
    for b, h, r in itertools.product(range(batch), range(heads), range(rows)):
        row = scores[b, h, r].tolist()
        may = complete[b, r].nonzero().flatten().tolist()
        best = sorted(may, key=lambda region: (-row[region], region))[: opened(len(may))]
        index[b, h, r, : len(best)] = torch.tensor(sorted(best), dtype=torch.int32)
    return index


def unite(
    index: Int[Tensor, "batch index_head slot"],
    row: Int[Tensor, " batch"],
    begin: Int[Tensor, "batch #kv_head region"],
    count: Int[Tensor, "batch #kv_head region"],
    heads: int,
    kv_heads: int,
) -> Union:
    """What the query heads of each KV head look at, as one list; regions of which nothing is stored are left out.

    Args:
        index: Regions that each head looks at, ascending, then -1; the head axis counts heads, KV heads or 1.
        row: -1 = the sample's query looks at no region.
        begin: First entry of each region.
        count: Entries of each region.
        heads: Query heads.
        kv_heads: KV heads.
    """
    group, members = heads // kv_heads, max(1, index.shape[1] // kv_heads)
    places = max(1, min(begin.shape[2], members * index.shape[2]))
    shift, bits, ends = (torch.zeros(index.shape[0], kv_heads, places, dtype=torch.int64) for _ in range(3))
    listed = torch.zeros(index.shape[0], kv_heads, dtype=torch.int64)
    for b in range(index.shape[0]):
        for kv in range(kv_heads):
            at = kv if begin.shape[1] > 1 else 0
            looks: dict[int, int] = {}
            for g in range(group if int(row[b]) >= 0 else 0):
                for region in index[b, (kv * group + g) * index.shape[1] // heads].tolist():
                    if region >= 0 and int(count[b, at, region]) > 0:
                        looks[region] = looks.get(region, 0) | 1 << g
            tokens = 0
            for place, region in enumerate(sorted(looks)):
                shift[b, kv, place] = int(begin[b, at, region]) - tokens
                tokens += int(count[b, at, region])
                bits[b, kv, place], ends[b, kv, place] = looks[region], tokens
            listed[b, kv] = len(looks)
    return Union(shift, bits, ends, listed)


def attend(
    query: Float[Tensor, "batch head dim"],
    key: Float[Tensor, "batch kv_head entry dim"],
    value: Float[Tensor, "batch kv_head entry value_dim"],
    union: Union,
    asking: Facts,
    free: Facts,
    free_begin: int,
    scale: float,
) -> Partial:
    """Attention to a list of regions and the free entries in one piece, in fp32.

    Args:
        query: One per sample and head.
        key: Heads not repeated.
        value: Aligned with `key`.
        union: From `unite`.
        asking: What each sample's query is.
        free: What each entry from `free_begin` on is.
        free_begin: First entry that is in no region.
        scale: Factor on the logits.
    """
    batch, heads, _ = query.shape
    group = heads // key.shape[1]
    out = torch.zeros(batch, heads, 1, value.shape[3])
    lse = torch.full((batch, heads, 1), -math.inf)
    for b in range(batch):
        for h in range(heads):
            kv, at = h // group, h // group if free.kind.shape[1] > 1 else 0
            entries: list[int] = []
            before = 0
            for place in range(int(union.regions[b, kv])):
                end = int(union.ends[b, kv, place])
                if int(union.heads[b, kv, place]) >> (h % group) & 1:
                    entries += [token + int(union.shift[b, kv, place]) for token in range(before, end)]
                before = end
            seen = (free.document[b, at] == asking.document[b, 0]) & (free.order[b, at] <= asking.order[b, 0])
            seen &= (free.kind[b, at] != 0) & (asking.kind[b, 0] != 0)
            entries += [free_begin + nth for nth in seen.nonzero().flatten().tolist()]
            if entries:
                logits = scale * (key[b, kv, entries].float() @ query[b, h].float())
                out[b, h, 0] = logits.softmax(-1) @ value[b, kv, entries].float()
                lse[b, h, 0] = logits.logsumexp(-1) / math.log(2)
    return Partial(out, lse)


def combine(partial: Partial, dtype: torch.dtype) -> Float[Tensor, "batch head value_dim"]:
    """One answer of the answers to pieces, each weighed by its sum; zeros where a head saw nothing."""
    lse = partial.lse.masked_fill((partial.lse == -math.inf).all(-1, keepdim=True), 0.0)
    weight = (lse * math.log(2)).softmax(-1)
    return torch.einsum("bhp,bhpd->bhd", weight, partial.out).to(dtype)
