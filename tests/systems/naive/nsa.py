"""Native Sparse Attention (Yuan et al. 2025, arXiv 2502.11089), equations 5 to 12.

o_t = sum_c g_t^c Attn(q_t, K^c, V^c) over three branches (5), g^c in [0, 1] from an MLP and a sigmoid of the
input features.

Compressed (7): blocks of l tokens that begin every d; an MLP with embeddings of the places inside a block makes
one key and one value of each. Selected (8 to 12): the attention that the query pays the compressed keys says
what blocks of l' tokens are worth: each compressed block gives its share to every stride of d tokens that it
covers (9), shares of the heads of a group are added up (10), the n best blocks are attended to by the whole
group (11, 12); the first block and two local ones always are among them. Window: the last w tokens.

Choices. Equation 9 as printed subtracts both indices, which would look at blocks before the one that is meant;
read here as the overlap that it describes. A compressed block counts once the selection block in which it ends
is full; until then the tokens of that block stand for themselves in the compressed branch, so that no branch is ever
empty. Keys and values are shared by the branches, where the paper has a set of them for each: a stated
exception. Gates are one linear map and a sigmoid, compressed blocks their mean and what the MLP adds to it.
"""

import torch
from torch import Tensor

from tests.systems.naive.base import Prompt, attend, best, one_query


def compress(members: Tensor, place: Tensor, into: Tensor, out: Tensor) -> Tensor:
    """One entry of a block of one head: `[length dim]` to `[dim]`."""
    placed = members + place
    return placed.mean(0) + torch.nn.functional.gelu(placed.flatten() @ into) @ out


def block_shares(weights: dict[int, float], block: list[int], length: int, stride: int) -> float:
    """What compressed blocks, by where they begin, give a selection block: a share for each stride they cover."""
    strides = range(block[0], block[-1] + 1, stride)
    return sum(w for at in strides for begin, w in weights.items() if begin <= at < begin + length)


def window(prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, size: int) -> Tensor:
    return attend(q, k, v, lambda _, i: range(max(0, i - size + 1), i + 1))


def native_sparse(
    prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, maps: dict[str, Tensor], gates: Tensor,
    length: int, stride: int, block: int, top: int, first: int, latest: int, size: int,
) -> Tensor:  # fmt: skip
    """`gates`: `[branch head token]`; `maps`: the parameters of `compress` of keys and values, `[kv_head ...]`."""
    group, tokens = q.shape[0] // k.shape[0], prompt.length
    begins = range(0, tokens - length + 1, stride)
    squeezed = {
        (g, at, kind): compress(
            field[g, at : at + length], *(maps[f"{kind}_{name}"][g] for name in ("place", "into", "out"))
        )
        for g in range(k.shape[0])
        for kind, field in (("key", k), ("value", v))
        for at in begins
    }
    blocks = prompt.runs(block)

    def visible(i: int) -> list[int]:
        """Compressed blocks, by where they begin, that a query may see: those that end in a full selection block."""
        full = (i + 1) // block * block
        return [at for at in begins if at + length <= full]

    def compressed(h: int, i: int) -> Tensor:
        g, there = h // group, visible(i)
        own = list(range(i // block * block, i + 1))
        keys = torch.stack([squeezed[g, at, "key"] for at in there] + [k[g, j] for j in own])
        values = torch.stack([squeezed[g, at, "value"] for at in there] + [v[g, j] for j in own])
        return one_query(q[h, i], keys, values, range(len(keys)))

    def worth(h: int, i: int) -> list[float]:
        there = visible(i)
        if not there:
            return [0.0] * (i // block)
        logits = (
            torch.stack([q[h, i] @ squeezed[h // group, at, "key"] for at in there]) * q.shape[-1] ** -0.5
        )
        paid = dict(zip(there, logits.softmax(0).tolist(), strict=True))
        return [block_shares(paid, blocks[n], length, stride) for n in range(i // block)]

    def chosen(h: int, i: int) -> list[int]:
        own = i // block
        heads = range(h // group * group, (h // group + 1) * group)
        total = [sum(one) for one in zip(*(worth(head, i) for head in heads), strict=True)]
        standing = {*range(min(first, own)), *range(max(0, own - latest), own), own}
        others = [n for n in range(own) if n not in standing]
        more = [others[m] for m in best([total[n] for n in others], top)]
        return [j for n in (*standing, *more) for j in blocks[n] if j <= i]

    heads = range(q.shape[0])
    outs = [
        torch.stack([torch.stack([compressed(h, i) for i in range(tokens)]) for h in heads]),
        attend(q, k, v, chosen),
        window(prompt, q, k, v, size=size),
    ]
    return sum(gate[..., None] * out for gate, out in zip(gates, outs, strict=True))
