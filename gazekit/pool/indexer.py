"""A few small heads of their own that say where to look."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from gazekit.contracts import Described, Look, Regions, Rows, Sizes
from gazekit.pool._match import dot
from gazekit.pool._members import means, wide
from gazekit.pool._weights import bound


class IndexerPooler(nn.Module):
    """Scores regions by a few narrow heads on hidden states: DeepSeek's lightning indexer.

    `score = sum_j w_j(h_row) relu(q_j(h_row) . k(h_member))` for regions of one token, as in the source; a larger
    region has the mean of its members' index keys. One index key of `dim` channels serves all heads, so scoring
    is cheap enough for single tokens, and every head of the model gets the same scores: route with
    `share="layer"` or "group". Positions play no part: the source's equation has none, its code rotates a part of
    the channels. It knows nothing before it is taught; teach it by distilling the model's own attention.

    Source: DeepSeek-V3.2 (DeepSeek-AI, 2025), equation 1.

    Args:
        num_heads: Index heads.
        dim: Channels of an index head.

    Raises:
        ValueError: `num_heads` or `dim` is below 1.
    """

    def __init__(self, *, num_heads: int = 4, dim: int = 64) -> None:
        super().__init__()
        if num_heads < 1:
            raise ValueError(f"num_heads must be at least 1, got {num_heads}; the source has 64")
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}; the source has 128")
        self.num_heads, self.dim = num_heads, dim
        for name in ("query", "key", "weight"):
            self.register_parameter(name, None)

    def bind(self, sizes: Sizes) -> None:
        """Draws the maps from hidden states: to queries, to the one key, and to a weight for each head."""
        width, heads, dim = sizes.hidden_dim, self.num_heads, self.dim
        self.query = nn.Parameter(torch.randn(width, heads * dim) * width**-0.5)
        self.key = nn.Parameter(torch.randn(width, dim) * width**-0.5)
        self.weight = nn.Parameter(torch.randn(width, heads) * (width * heads * dim) ** -0.5)

    def features(self, look: Look) -> Float[Tensor, "batch 1 query dim"]:
        """The tokens' index keys."""
        return _apply(_hidden(look), bound(self.key, self))

    def describe(self, look: Look, regions: Regions) -> Described:
        """Mean index key of each region."""
        assert look.features is not None, "the caller keeps what `features` gave"
        return Described({"key": means(wide(look.features), regions)})

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """The indexer's score, the same for all heads, such that `scale * score` is the sum above."""
        hidden = rows.mean(_hidden(look))
        query = _apply(hidden, bound(self.query, self))
        query = rearrange(query, "batch 1 row (index dim) -> batch index row dim", dim=self.dim)
        weight = _apply(hidden, bound(self.weight, self))
        weight = rearrange(weight, "batch 1 row index -> batch index row 1")
        matches = dot(query, described.tensors["key"]).relu()
        scores = (weight * matches).sum(1, keepdim=True) / look.scale
        return scores.expand(-1, look.query.shape[1], -1, -1)


def _hidden(look: Look) -> Float[Tensor, "batch 1 query width"]:
    """The hidden states, with an axis where heads would be.

    Raises:
        ValueError: The look has none.
    """
    if look.hidden is None:
        raise ValueError(
            "look.hidden must be given: the indexer reads hidden states, and this look was made without them; "
            "pass Look(..., hidden=...)"
        )
    return wide(look.hidden)[:, None]


def _apply(
    vector: Float[Tensor, "batch 1 place width"], weight: Float[Tensor, "width out"]
) -> Float[Tensor, "batch 1 place out"]:
    with torch.autocast(vector.device.type, enabled=False):
        return vector @ weight.to(vector.dtype)
