"""Fewer visual tokens before the projector: four neighbours become one."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import initialization as init


class AverageCompressor(nn.Module):
    """The mean of each 2 x 2 block of tokens; no weights."""

    def forward(
        self, grid: Float[Tensor, "image row column dim"]
    ) -> Float[Tensor, "image half_row half_column dim"]:
        """The coarser grid."""
        return rearrange(grid, "i (y a) (x b) d -> i y x a b d", a=2, b=2).mean((-3, -2))


class ConvCompressor(nn.Module):
    """A learned 2 x 2 convolution of stride 2 that starts as the mean of its four tokens.

    So step 0 of training equals `AverageCompressor` in front of the same projector (the matrix-split
    initialisation of F-16, which starts a wider layer as the average of the layer that it replaces).

    Args:
        dim: Width of the features.
    """

    def __init__(self, *, dim: int):
        super().__init__()
        self.convolution = nn.Conv2d(dim, dim, kernel_size=2, stride=2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Becomes the mean again."""
        weight = self.convolution.weight
        eye = torch.eye(weight.shape[0], dtype=weight.dtype, device=weight.device)
        init.copy_(weight, (eye[:, :, None, None] / 4).expand_as(weight))
        init.zeros_(self.convolution.bias)

    def forward(
        self, grid: Float[Tensor, "image row column dim"]
    ) -> Float[Tensor, "image half_row half_column dim"]:
        """The coarser grid."""
        return rearrange(self.convolution(rearrange(grid, "i y x d -> i d y x")), "i d y x -> i y x d")


def build_compressor(name: str | None, dim: int) -> nn.Module:
    """The compressor that a config names; None leaves the grid as it is."""
    if name is None:
        return nn.Identity()
    return ConvCompressor(dim=dim) if name == "conv2x2" else AverageCompressor()
