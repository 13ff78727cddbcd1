"""A region's descriptor as the mean of its keys in a few directions."""

from __future__ import annotations

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from gazekit.contracts import Described, Look, Regions, Rows, Sizes
from gazekit.pool._match import dot
from gazekit.pool._members import means, wide
from gazekit.pool._weights import bound


class LowRankPooler(nn.Module):
    """Describes a region by the mean of its keys along `rank` directions of each KV head.

    Keys are close to a low-dimensional subspace, so that scores in it rank regions nearly as `MeanPooler`'s do
    with `rank / dim` of its bytes and products: for many small regions, single tokens above all. The directions are
    the keys' principal components once `fit` has seen some; before, they are random and orthonormal, which keeps
    scores right in expectation up to the factor `rank / dim`. They are weights: saved with the model, learnable.

    Source: Loki (Singhania et al., 2024), section 3: components are calibrated offline, then fixed.

    Args:
        rank: Directions per KV head, in 1 to the width of a head.

    Raises:
        ValueError: `rank` is below 1, or above the width of a head when bound.
    """

    def __init__(self, *, rank: int = 32) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(
                f"rank must be at least 1, got {rank}; a quarter of a head's width is Loki's choice"
            )
        self.rank = rank
        self.register_parameter("basis", None)

    def bind(self, sizes: Sizes) -> None:
        """Draws the directions `[kv_head dim rank]`."""
        if self.rank > sizes.head_dim:
            raise ValueError(
                f"rank must be at most the width of a head, {sizes.head_dim}, got {self.rank}; "
                "use MeanPooler() to keep all directions"
            )
        drawn = torch.randn(sizes.num_kv_heads, sizes.head_dim, self.rank, dtype=torch.float64)
        self.basis = nn.Parameter(torch.linalg.qr(drawn).Q.float())

    @torch.no_grad()
    def fit(self, key: Float[Tensor, "batch kv_head key dim"]) -> None:
        """Takes the principal components of these keys as directions.

        Args:
            key: Cached keys of one layer, without padding.
        """
        basis = bound(self.basis, self)
        flat = wide(key).transpose(0, 1).flatten(1, 2)
        centred = flat - flat.mean(1, keepdim=True)
        _, vectors = torch.linalg.eigh(centred.transpose(1, 2) @ centred)
        basis.copy_(vectors.flip(-1)[..., : self.rank])

    def describe(self, look: Look, regions: Regions) -> Described:
        """Mean of the projected keys, per KV head: `rank` wide."""
        mean = means(wide(look.key), regions)
        return Described({"mean": self._project(mean)})

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """The projected query times the projected mean, unscaled."""
        return dot(self._project(rows.mean(look.query)), described.tensors["mean"])

    def _project(
        self, vector: Float[Tensor, "batch any_head place dim"]
    ) -> Float[Tensor, "batch any_head place rank"]:
        """Coordinates along the directions of each head's KV head."""
        basis = bound(self.basis, self).to(vector.dtype)
        basis = basis.repeat_interleave(vector.shape[1] // basis.shape[0], dim=0)
        with torch.autocast(vector.device.type, enabled=False):
            return einsum(vector, basis, "batch head place dim, head dim rank -> batch head place rank")
