"""From the tower's features to the decoder's embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import initialization as init

PLACE_STD = 0.2
"""Spread of the row and column embeddings at the start: wide enough to be heard beside features of unit scale."""


class Projector(nn.Module):
    """`mlp2x_gelu`: Linear, exact GELU, Linear, with the initialisation that nn.Linear has by itself (Cambrian-1).

    Args:
        in_dim: Width of a frame's features.
        out_dim: Width of the decoder's embeddings.
        grid: Rows and columns of a unit, in tokens.
        place_embedding: Whether a learned vector for the row and one for the column are added to each token.
        frames: Frames side by side in the features; both layers are as many times as wide inside (F-16).
        newline: Whether `close_rows` has a learned newline, which starts as N(0, 1 / out_dim) (Cambrian-1).
    """

    def __init__(
        self,
        *,
        in_dim: int,
        out_dim: int,
        grid: tuple[int, int],
        place_embedding: bool,
        frames: int = 1,
        newline: bool = False,
    ):
        super().__init__()
        self.first = nn.Linear(frames * in_dim, frames * out_dim)
        self.activation = nn.GELU()
        self.second = nn.Linear(frames * out_dim, out_dim)
        self.row = nn.Embedding(grid[0], out_dim) if place_embedding else None
        self.column = nn.Embedding(grid[1], out_dim) if place_embedding else None
        self.newline = nn.Parameter(torch.zeros(out_dim)) if newline else None
        self.reset_newline()

    def reset_newline(self) -> None:
        """Draws the newline anew, where there is one."""
        if self.newline is not None:
            init.normal_(self.newline, std=len(self.newline) ** -0.5)

    def forward(
        self, grid: Float[Tensor, "image row column in_dim"]
    ) -> Float[Tensor, "image row column out_dim"]:
        """Embeddings, ready to stand among those of words."""
        out = self.second(self.activation(self.first(grid)))
        if self.row is None or self.column is None:
            return out
        return out + self.row.weight[:, None] + self.column.weight[None]

    def close_rows(
        self, grid: Float[Tensor, "image row column dim"]
    ) -> Float[Tensor, "image row closed_column dim"]:
        """The newline behind every row, where there is one."""
        if self.newline is None:
            return grid
        ends = self.newline.to(grid.dtype).expand(*grid.shape[:2], 1, -1)
        return torch.cat([grid, ends], dim=2)


def widened(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A trained projector's two layers as those of a wider one: F-16's matrix-split initialisation.

    Where several tokens come in side by side (`UnshuffleCompressor`), the first layer takes an equal share of each: it
    starts as the old projector of their mean. Where several frames do, the first layer is the old one on each frame
    and the second takes an equal share of each: it starts as the mean of the old projector over frames.

    Args:
        state: `first.weight`, `first.bias`, `second.weight` and `second.bias` of the trained one.
        wanted: The same of the wider one; only shapes are read.

    Raises:
        ValueError: The shapes of the wider one are no multiples of those of the trained one.
    """
    first, second = state["first.weight"], state["second.weight"]
    frames, odd = divmod(wanted["first.weight"].shape[0], first.shape[0])
    joined, rest = divmod(wanted["first.weight"].shape[1], max(1, frames) * first.shape[1])
    if odd or rest or not frames or not joined or wanted["second.weight"].shape[0] != second.shape[0]:
        raise ValueError(
            f"projector must come from a tower and for a decoder of the same widths: it makes {second.shape[0]} of "
            f"{first.shape[1]}, which cannot be spread over {list(wanted['first.weight'].shape)} and "
            f"{list(wanted['second.weight'].shape)}"
        )
    share = (first / joined).repeat(1, joined)
    return {
        "first.weight": torch.block_diag(*[share] * frames),
        "first.bias": state["first.bias"].repeat(frames),
        "second.weight": (second / frames).repeat(1, frames),
        "second.bias": state["second.bias"],
    }
