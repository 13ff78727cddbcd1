"""What the kernels of one decoding step hand to each other."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


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
