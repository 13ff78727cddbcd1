"""One layer's call, and what scoring and routing hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts.layout import TokenLayout
from gazekit.contracts.regions import Regions, Rows
from gazekit.contracts.tokens import Tokens


@dataclass(frozen=True)
class Sizes:
    """What a part with weights is sized by.

    Attributes:
        num_layers: Decoder layers.
        num_heads: Query heads.
        num_kv_heads: Key and value heads.
        head_dim: Width of a head.
        hidden_dim: Width of the residual stream.
        num_branches: Branches of the composition that the part stands in; 1 where it has none.
    """

    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    hidden_dim: int
    num_branches: int = 1


@dataclass(frozen=True)
class Look:
    """One layer's call of attention. Query and key stand after RoPE (and q/k norm); heads are not repeated.

    Attributes:
        query: Queries of this forward.
        key: Keys; what they align with is said by who passes the look on.
        value: Values, aligned with `key`.
        layer: Index of the decoder layer.
        scale: Factor on the logits, usually `dim ** -0.5`.
        hidden: Hidden states that the layer's attention was given, for parts that learn from them; None where the
            look was made by hand without them.
        cos: RoPE's cosines for the queries' positions; None where the model has no RoPE.
        sin: RoPE's sines, likewise.
        features: What the pooler's own `features` made of each token when it arrived, aligned with `key`; None
            where it has none.
        tokens: What each query is; None where the look was made by hand without them.
    """

    query: Float[Tensor, "batch head query dim"]
    key: Float[Tensor, "batch kv_head key dim"]
    value: Float[Tensor, "batch kv_head key value_dim"]
    layer: int
    scale: float
    hidden: Float[Tensor, "batch query width"] | None = None
    cos: Float[Tensor, "batch query rope"] | None = None
    sin: Float[Tensor, "batch query rope"] | None = None
    features: Float[Tensor, "batch feature_head key feature"] | None = None
    tokens: Tokens | None = None

    @property
    def group(self) -> int:
        """Query heads that share one KV head."""
        return self.query.shape[1] // self.key.shape[1]


@dataclass(frozen=True)
class Described:
    """What a pooler knows of every region: named tensors whose third axis is the region. Opaque to all but it.

    Attributes:
        tensors: Each `[batch #kv_head region ...]`.
    """

    tensors: Mapping[str, Tensor]

    @property
    def count(self) -> int:
        """Length of the region axis."""
        return next(iter(self.tensors.values())).shape[2]

    def where(self, fresh: Bool[Tensor, "batch region"], other: Described) -> Described:
        """This one's regions where `fresh`, the other's elsewhere; what either is too short for is zero.

        The result has this one's regions; axes behind them are as long as the longer one's.
        """
        merged = {}
        for name, new in self.tensors.items():
            known = other.tensors[name]
            shape = (*new.shape[:3], *map(max, new.shape[3:], known.shape[3:]))
            new, known = _fit(new, shape), _fit(known, shape)
            merged[name] = torch.where(fresh.view(fresh.shape[0], 1, -1, *[1] * (new.ndim - 3)), new, known)
        return Described(merged)

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> Described:
        """The samples `sample`, as beam search permutes them."""
        return Described({name: tensor.index_select(0, sample) for name, tensor in self.tensors.items()})


def _fit(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The tensor with zeros behind it, or without its end, in this shape."""
    if tensor.shape == shape:
        return tensor
    common = tuple(slice(min(lengths)) for lengths in zip(tensor.shape, shape, strict=True))
    table = tensor.new_zeros(shape)
    table[common] = tensor[common]
    return table


@dataclass(frozen=True)
class Summary:
    """Entries that stand for regions, in the softmax beside the tokens.

    Attributes:
        key: Stands where keys stand: after RoPE, heads not repeated.
        value: Aligned with `key`.
        region: The region that each entry ends with, -1 = no entry; None = one entry for each region, in order.
    """

    key: Float[Tensor, "batch kv_head entry dim"]
    value: Float[Tensor, "batch kv_head entry value_dim"]
    region: Int[Tensor, "batch entry"] | None = None


@dataclass(frozen=True)
class Selection:
    """Which regions each row of each head looks at.

    Attributes:
        index: Region ids, ascending, unique; -1 = empty, always after the ids. The head axis counts query heads,
            KV heads or 1: that is all a backend knows of sharing. The slot count is static within a forward.
    """

    index: Int[Tensor, "batch #head row slot"]

    def chosen(self, num_regions: int) -> Bool[Tensor, "batch #head row region"]:
        """True = looked at."""
        table = torch.zeros(
            *self.index.shape[:3], num_regions + 1, dtype=torch.bool, device=self.index.device
        )
        slot = torch.where(self.index >= 0, self.index, num_regions).long()
        return table.scatter_(3, slot, True)[..., :num_regions]

    def per_head(self, num_heads: int) -> Int[Tensor, "batch head row slot"]:
        """The index with its head axis expanded to all query heads."""
        return self.index.repeat_interleave(num_heads // self.index.shape[1], dim=1)


@dataclass(frozen=True)
class View:
    """What a router may know besides the scores.

    Attributes:
        layout: The prompt.
        regions: Its division.
        rows: The rows that choose now.
        complete: True = this row may choose this region.
        openness: 1 = dense ... 0 = the target; what the schedule drives.
        layer: Index of the decoder layer.
        scale: Factor that turns a score into a logit.
        num_heads: Query heads.
        num_kv_heads: Key and value heads.
        earlier: Selections of earlier layers of this forward for the same rows and regions, by layer; None = such a
            layer looked at all of them.
        keys: What each key of the look is that goes with this view, and which region owns it; for losses.
        query: What each query of the look is, likewise.
        divided: What `divide` asks, so that a prompt is divided once a forward; None = it divides anew.
    """

    layout: TokenLayout
    regions: Regions
    rows: Rows
    complete: Bool[Tensor, "batch row region"]
    openness: float
    layer: int
    scale: float
    num_heads: int
    num_kv_heads: int
    earlier: Mapping[int, Selection | None]
    keys: Tokens | None = None
    query: Tokens | None = None
    divided: Callable[..., Regions] | None = None

    def divide(self, partition: Callable[[TokenLayout], Regions]) -> Regions:
        """Another division of the same prompt, its owners along the tokens of `layout` like those of `regions`."""
        return partition(self.layout) if self.divided is None else self.divided(partition)
