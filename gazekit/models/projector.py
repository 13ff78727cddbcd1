"""From the tower's features to the decoder's embeddings."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

PLACE_STD = 0.2
"""Spread of the row and column embeddings at the start: wide enough to be heard beside features of unit scale."""


class Projector(nn.Module):
    """`mlp2x_gelu`: Linear, exact GELU, Linear, with the initialisation that nn.Linear has by itself (Cambrian-1).

    Args:
        in_dim: Width of the tower's features.
        out_dim: Width of the decoder's embeddings.
        grid: Rows and columns of a unit, in tokens.
        place_embedding: Whether a learned vector for the row and one for the column are added to each token.
    """

    def __init__(self, *, in_dim: int, out_dim: int, grid: tuple[int, int], place_embedding: bool):
        super().__init__()
        self.first = nn.Linear(in_dim, out_dim)
        self.activation = nn.GELU()
        self.second = nn.Linear(out_dim, out_dim)
        self.row = nn.Embedding(grid[0], out_dim) if place_embedding else None
        self.column = nn.Embedding(grid[1], out_dim) if place_embedding else None

    def forward(
        self, grid: Float[Tensor, "image row column in_dim"]
    ) -> Float[Tensor, "image row column out_dim"]:
        """Embeddings, ready to stand among those of words."""
        out = self.second(self.activation(self.first(grid)))
        if self.row is None or self.column is None:
            return out
        return out + self.row.weight[:, None] + self.column.weight[None]
