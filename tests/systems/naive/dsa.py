"""DeepSeek Sparse Attention (DeepSeek-V3.2, DeepSeek-AI 2025, arXiv 2512.02556), equations 1 and 2.

The lightning indexer scores every earlier token: I[t, s] = sum_j w[t, j] relu(q[t, j] . k[s]) (1), with few
narrow heads j whose queries q and weights w come from the hidden state of t, and one key k from the hidden
state of s. A query attends to the k tokens of the highest I, the same for all heads (2). A token may choose
itself, and need not.

The indexer learns by distillation (3): KL divergence of softmax(I[t, :]) from the main attention, summed over heads
and divided by its sum. Here over all earlier tokens, as in the paper's warm-up, in every step.

The official code rotates some of the channels, quantises to fp8 and normalises the keys; equation 1 does not,
nor does this.
"""

import torch
from torch import Tensor

from tests.systems.naive.base import Prompt, attend, best


def index_scores(hidden: Tensor, query: Tensor, key: Tensor, weight: Tensor, t: int) -> Tensor:
    """I[t, s] for s up to t; maps `[width heads*dim]`, `[width dim]`, `[width heads]`."""
    heads = weight.shape[1]
    asked = (hidden[t] @ query).reshape(heads, -1)
    share = hidden[t] @ weight
    offered = [hidden[s] @ key for s in range(t + 1)]
    return torch.stack(
        [sum(share[j] * (asked[j] @ one).clamp_min(0) for j in range(heads)) for one in offered]
    )


def deepseek_sparse(
    prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, hidden: Tensor, query: Tensor, key: Tensor, weight: Tensor,
    top: int,
) -> Tensor:  # fmt: skip
    chosen: dict[int, list[int]] = {}

    def seen(_: int, i: int) -> list[int]:
        if i not in chosen:
            chosen[i] = best(index_scores(hidden, query, key, weight, i).tolist(), top)
        return chosen[i]

    return attend(q, k, v, seen)


def distillation(
    prompt: Prompt, q: Tensor, k: Tensor, *, hidden: Tensor, query: Tensor, key: Tensor, weight: Tensor
) -> tuple[Tensor, int]:
    """The divergence summed over queries, and how many queries there are."""
    heads, total = q.shape[0], torch.zeros((), dtype=q.dtype)
    group = heads // k.shape[0]
    for t in range(prompt.length):
        logits = [(k[h // group, : t + 1] @ q[h, t]) * q.shape[-1] ** -0.5 for h in range(heads)]
        true = sum(one.softmax(0) for one in logits) / heads
        guess = index_scores(hidden, query, key, weight, t).log_softmax(0)
        total = total + (true * (true.log() - guess)).sum()
    return total, prompt.length
