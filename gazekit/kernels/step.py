"""What the kernels of one decoding step hand to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Decode = Callable[
    [Float[Tensor, "batch head dim"], Int[Tensor, "batch index_head slot"]],
    Float[Tensor, "batch head value_dim"],
]


@dataclass(frozen=True)
class Facts:
    """What tokens are, as far as decides whether a query sees a free entry. All three fields lie alike in memory.

    Attributes:
        kind: 0 = padding.
        document: The packed document.
        order: Position in it; a query sees entries of lower or equal order.
    """

    kind: Int[Tensor, "batch #kv_head token"]
    document: Int[Tensor, "batch #kv_head token"]
    order: Int[Tensor, "batch #kv_head token"]

    @classmethod
    def alike(
        cls,
        kind: Int[Tensor, "batch #kv_head token"],
        document: Int[Tensor, "batch #kv_head token"],
        order: Int[Tensor, "batch #kv_head token"],
    ) -> Facts:
        """The facts, copied where they do not lie alike."""
        fields = (kind, document, order)
        if any(field.stride() != kind.stride() or field.stride(2) != 1 for field in fields):
            kind, document, order = (field.contiguous() for field in fields)
        return cls(kind, document, order)


@dataclass(frozen=True)
class Union:
    """The regions that any head of a KV head looks at, ascending, each once. The first `regions` places count.

    Attributes:
        shift: What turns a token's place in the list into its entry: the region's first entry less the tokens
            listed before it.
        heads: A bit for each query head of the group, the lowest for the first; 1 = looks at the region.
        ends: Tokens of the list up to the end of the region.
        regions: Length of the list.
    """

    shift: Int[Tensor, "batch kv_head place"]
    heads: Int[Tensor, "batch kv_head place"]
    ends: Int[Tensor, "batch kv_head place"]
    regions: Int[Tensor, "batch kv_head"]


@dataclass(frozen=True)
class Partial:
    """What each piece of the entries came to; zeros, and minus infinity, where a head sees none of a piece.

    Attributes:
        out: Values, averaged over the piece.
        lse: Logarithm to base 2 of the sum of the exponentiated logits.
    """

    out: Float[Tensor, "batch head piece value_dim"]
    lse: Float[Tensor, "batch head piece"]


def in_parts(
    decode: Decode,
    query: Float[Tensor, "batch head dim"],
    index: Int[Tensor, "batch index_head slot"],
    kv_heads: int,
    most: int,
) -> Float[Tensor, "batch head value_dim"]:
    """Attention by a kernel that serves so many query heads of a KV head at a time.

    Args:
        decode: Called with some query heads of every KV head, and what they chose.
        query: One per sample and head.
        index: Regions that each head looks at; the head axis counts heads, KV heads or 1.
        kv_heads: KV heads.
        most: Query heads of a KV head in one call.
    """
    queries = query.unflatten(1, (kv_heads, -1)).split(most, dim=2)
    apart = index.shape[1] > kv_heads
    chosen = index.unflatten(1, (kv_heads, -1)).split(most, dim=2) if apart else [index] * len(queries)
    outs = [
        decode(some.flatten(1, 2), own.flatten(1, 2) if apart else own).unflatten(1, (kv_heads, -1))
        for some, own in zip(queries, chosen, strict=True)
    ]
    return torch.cat(outs, dim=2).flatten(1, 2)
