"""What each kernel must equal, in plain torch."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def decode(
    query: Float[Tensor, "batch head dim"],
    key: Float[Tensor, "batch kv_head entry dim"],
    value: Float[Tensor, "batch kv_head entry value_dim"],
    begin: Int[Tensor, "batch #kv_head region"],
    count: Int[Tensor, "batch #kv_head region"],
    index: Int[Tensor, "batch index_head slot"],
    free_begin: int,
    free_seen: Bool[Tensor, "batch #kv_head free"],
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
        free_begin: First entry that is in no region; the free ones lie behind it, as many as `free_seen` has.
        free_seen: True = in view.
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
                if region >= 0:
                    first = int(begin[b, at, region])
                    entries += range(first, first + int(count[b, at, region]))
            seen = free_seen[b, kv if free_seen.shape[1] > 1 else 0]
            entries += [free_begin + free for free in seen.nonzero().flatten().tolist()]
            if entries:
                logits = scale * (key[b, kv, entries].float() @ query[b, h].float())
                out[b, h] = logits.softmax(-1) @ value[b, kv, entries].float()
    return out.to(value.dtype)
