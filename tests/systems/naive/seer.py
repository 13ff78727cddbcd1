"""SeerAttention (Gao et al. 2024, arXiv 2410.13276), section 3: AttnGate, and its distillation.

Queries and keys are cut into blocks of B tokens. Before RoPE, queries of a block are pooled by their mean and
keys by maximum, minimum and mean, concatenated; a linear map of each head takes them to the gate's width; RoPE
is put back at the position of the block's first token. The gate's logits are q' . k' / sqrt(d); a block of
queries attends to the k blocks of the highest logits, causally.

Distillation: the true attention map is max-pooled over blocks of queries and keys, each row divided by its sum;
the loss is the KL divergence of the gate's softmax from that. The gate alone learns by it. The own block, which is
not chosen, takes no part. (The paper of the decoding variant, SeerAttention-R, pools over keys only.)

Choices: the block in which a query stands is always in view up to itself, and is not one of the k; the gate
ranks blocks that have ended before the block of queries began. Heads that share keys share the gate's key map.
"""

import torch
from torch import Tensor

from tests.systems.naive.base import Prompt, attend, best


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin


def gate_logits(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    query_map: Tensor,
    key_map: Tensor,
    queries: list[int],
    keys: list[int],
) -> Tensor:
    """One logit of one head: a block of queries against a block of keys; `[dim]` maps of that head."""
    plain_q, plain_k = rotate(q[queries], cos[queries], -sin[queries]), rotate(k[keys], cos[keys], -sin[keys])
    pooled = torch.cat([plain_k.max(0).values, plain_k.min(0).values, plain_k.mean(0)])
    asked = rotate(plain_q.mean(0) @ query_map, cos[queries[0]], sin[queries[0]])
    offered = rotate(pooled @ key_map, cos[keys[0]], sin[keys[0]])
    return (asked * offered).sum() * query_map.shape[-1] ** -0.5


def seer_attention(
    prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, cos: Tensor, sin: Tensor, query_map: Tensor, key_map: Tensor,
    block: int, top: int,
) -> Tensor:  # fmt: skip
    blocks = prompt.runs(block)
    group = q.shape[0] // k.shape[0]

    def seen(h: int, i: int) -> list[int]:
        own = i // block
        logits = [
            float(
                gate_logits(
                    q[h], k[h // group], cos, sin, query_map[h], key_map[h // group], blocks[own], blocks[n]
                )
            )
            for n in range(own)
        ]
        return [j for n in (*best(logits, top), own) for j in blocks[n] if j <= i]

    return attend(q, k, v, seen)


def distillation(
    prompt: Prompt,
    q: Tensor,
    k: Tensor,
    *,
    cos: Tensor,
    sin: Tensor,
    query_map: Tensor,
    key_map: Tensor,
    block: int,
) -> tuple[Tensor, int]:
    """The divergence summed over blocks of queries and averaged over heads, and how many blocks there are."""
    blocks, heads = prompt.runs(block), q.shape[0]
    group, total = heads // k.shape[0], torch.zeros((), dtype=q.dtype)
    for h in range(heads):
        keys = k[h // group]
        paid = [((keys[: i + 1] @ q[h, i]) * q.shape[-1] ** -0.5).softmax(0) for i in range(prompt.length)]
        for n in range(1, len(blocks)):
            true = torch.stack([max(paid[i][blocks[m]].max() for i in blocks[n]) for m in range(n)])
            logits = [
                gate_logits(q[h], keys, cos, sin, query_map[h], key_map[h // group], blocks[n], blocks[m])
                for m in range(n)
            ]
            true = true / true.sum()
            total = total + (true * (true.log() - torch.stack(logits).log_softmax(0))).sum() / heads
    return total, len(blocks)
