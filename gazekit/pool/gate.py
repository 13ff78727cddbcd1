"""A learned gate over pooled keys."""

from __future__ import annotations

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from gazekit.contracts import Described, Look, Regions, Rows, Sizes
from gazekit.pool._match import dot
from gazekit.pool._members import extremes, means, wide
from gazekit.pool._rope import angles_of, rotate, unpacked, unrotate
from gazekit.pool._weights import bound


class LinearGatePooler(nn.Module):
    """Learns what to ask and what to look for: linear maps of pooled queries and pooled keys, `q' . k'`.

    Keys and queries are taken before RoPE. A region's maximum, minimum and mean, concatenated, are mapped to `dim`
    channels by a matrix of its KV head; a row's mean query (a row is one query, or a block of them) by one of its
    head. Both then get RoPE's positions back: the region its first member's, the row its first query's. Without
    RoPE in the model there is nothing to take off and nothing to put back. Pooling after RoPE, which needs no
    features, would be `MeanPooler`'s way; the source's ablation finds the gate better this way round.

    The maps begin as `query . mean`, and learn through a loss on the scores (distillation from pooled true
    attention, in the source); use `LearnedAttentionPooler` where only the weighting of members is to be learned.

    Source: AttnGate of SeerAttention (Gao et al., 2024), section 3 and its best pooling (Q: mean; K: max, min, mean).

    Args:
        dim: Channels of the gate, None = the width of a head. At least the channels that RoPE turns.

    Raises:
        ValueError: `dim` is below 1, or below the channels that RoPE turns when first used.
    """

    def __init__(self, *, dim: int | None = None) -> None:
        super().__init__()
        if dim is not None and dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}; leave it out for the width of a head")
        self.dim = dim
        self.register_parameter("query", None)
        self.register_parameter("key", None)

    def bind(self, sizes: Sizes) -> None:
        """Makes the maps `[head dim gate]` and `[kv_head 3 dim gate]`, which begin as `query . mean`."""
        gate = self.dim or sizes.head_dim
        straight, nothing = torch.eye(sizes.head_dim, gate), torch.zeros(2 * sizes.head_dim, gate)
        self.query = nn.Parameter(straight.repeat(sizes.num_heads, 1, 1))
        self.key = nn.Parameter(torch.cat([nothing, straight]).repeat(sizes.num_kv_heads, 1, 1))

    def features(self, look: Look) -> Float[Tensor, "batch 1 query rope"]:
        """Cosines and sines of the tokens' positions; nothing where the model has no RoPE."""
        return angles_of(look).packed()

    def describe(self, look: Look, regions: Regions) -> Described:
        """What the gate looks for in each region, per KV head.

        Raises:
            ValueError: RoPE turns more channels than the gate has.
        """
        assert look.features is not None, "the caller keeps what `features` gave"
        weight, angles = bound(self.key, self), unpacked(wide(look.features))
        if look.features.shape[-1] > weight.shape[-1]:
            raise ValueError(
                f"dim must be at least the {look.features.shape[-1]} channels that RoPE turns, "
                f"got {weight.shape[-1]}; leave it out for the width of a head"
            )
        key = unrotate(wide(look.key), angles)
        pooled = [extremes(key, regions, "amax"), extremes(key, regions, "amin"), means(key, regions)]
        return Described({"gate": rotate(_map(torch.cat(pooled, dim=-1), weight), angles.of_first(regions))})

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """`q' . k'`, such that `scale * score` is the gate's logit `q' . k' / sqrt(dim)`."""
        weight, angles = bound(self.query, self), angles_of(look)
        query = _map(rows.mean(unrotate(wide(look.query), angles)), weight)
        scores = dot(rotate(query, angles.at_rows(rows)), described.tensors["gate"])
        return scores * (weight.shape[-1] ** -0.5 / look.scale)


def _map(
    vector: Float[Tensor, "batch head place dim"], weight: Float[Tensor, "head dim gate"]
) -> Float[Tensor, "batch head place gate"]:
    """Each head's vectors through its own matrix."""
    with torch.autocast(vector.device.type, enabled=False):
        return einsum(
            vector, weight.to(vector.dtype), "batch head place dim, head dim gate -> batch head place gate"
        )
