"""A region's descriptor as a learned weighted mean of its keys."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gazekit.contracts import Described, Look, Regions, Rows, Sizes
from gazekit.pool._match import match
from gazekit.pool._members import extremes, of_region, sums, wide
from gazekit.pool._weights import bound


class LearnedAttentionPooler(nn.Module):
    """Describes a region by attention over its keys: a learned seed of each KV head says which members count.

    `descriptor = sum_i softmax_i(seed . k_i / sqrt(dim)) k_i`, and the score is `query . descriptor`. It begins as
    `MeanPooler` (seeds are zero) and stays within what the members span, which makes it the mildest learned
    pooler; `LinearGatePooler` also learns what to ask. Teach it through a loss on the scores: selection
    itself has no gradient.

    Source: pooling by multihead attention with one seed, Set Transformer (Lee et al., 2019), equation 11.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("seed", None)

    def bind(self, sizes: Sizes) -> None:
        """Makes the seeds `[kv_head dim]`, all zero."""
        self.seed = nn.Parameter(torch.zeros(sizes.num_kv_heads, sizes.head_dim))

    def describe(self, look: Look, regions: Regions) -> Described:
        """The weighted mean of each region's keys, per KV head; zero for a region without members."""
        key = wide(look.key)
        seed = bound(self.seed, self).to(key.dtype)
        logit = (key * seed[:, None]).sum(-1, keepdim=True) * key.shape[-1] ** -0.5
        highest = extremes(logit.detach(), regions, "amax")
        # Tokens of no region weigh nothing, whatever stands in them.
        stray = (regions.owner < 0)[:, None, :, None]
        key = key.masked_fill(stray, 0)
        weight = (logit - of_region(highest, regions)).masked_fill(stray, 0).exp()
        total = sums(weight, regions)
        return Described({"mean": sums(weight * key, regions) / total.masked_fill(total == 0, 1)})

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """`query . descriptor`, unscaled."""
        return match(rows, look.query, described.tensors["mean"])
