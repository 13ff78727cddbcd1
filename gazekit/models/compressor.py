"""Fewer visual tokens, before or after the projector."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import initialization as init

from gazekit.models.config import CambrianConfig

Grid = Float[Tensor, "image row column dim"]
Fewer = Float[Tensor, "image fewer_rows fewer_columns new_dim"]


class AverageCompressor(nn.Module):
    """The mean of each block of tokens; no weights.

    Args:
        grid: Rows and columns that are left, which divide those that come in; None = half of each.
    """

    def __init__(self, *, grid: tuple[int, int] | None = None):
        super().__init__()
        self.grid = grid

    def forward(self, grid: Grid) -> Fewer:
        """The coarser grid."""
        return _blocks(grid, self.grid).mean((-3, -2))


class MaxCompressor(nn.Module):
    """The largest of each block of tokens, in every dimension by itself; no weights (F-16, after the projector).

    Args:
        grid: As for `AverageCompressor`.
    """

    def __init__(self, *, grid: tuple[int, int] | None = None):
        super().__init__()
        self.grid = grid

    def forward(self, grid: Grid) -> Fewer:
        """The coarser grid."""
        return _blocks(grid, self.grid).amax((-3, -2))


class BilinearCompressor(nn.Module):
    """Bilinear interpolation to any smaller grid, in fp32, corners not aligned; no weights (Cambrian-S, after the
    projector: 8 x 8 a frame).

    Args:
        grid: Rows and columns that are left; None = half of each.
    """  # noqa: D205

    def __init__(self, *, grid: tuple[int, int] | None = None):
        super().__init__()
        self.grid = grid

    def forward(self, grid: Grid) -> Fewer:
        """The coarser grid."""
        size = self.grid or (grid.shape[1] // 2, grid.shape[2] // 2)
        channels = rearrange(grid.float(), "i y x d -> i d y x")
        smaller = interpolate(channels, size=size, mode="bilinear", align_corners=False)
        return rearrange(smaller, "i d y x -> i y x d").to(grid)


class UnshuffleCompressor(nn.Module):
    """Each 2 x 2 block side by side on channels, four times as wide; no weights: the projector joins them."""

    def forward(self, grid: Grid) -> Fewer:
        """The coarser, wider grid."""
        return rearrange(grid, "i (y a) (x b) d -> i y x (a b d)", a=2, b=2)


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

    def forward(self, grid: Grid) -> Fewer:
        """The coarser grid."""
        return rearrange(self.convolution(rearrange(grid, "i y x d -> i d y x")), "i d y x -> i y x d")


def build_compressor(config: CambrianConfig) -> nn.Module:
    """The compressor that a config names; none leaves the grid as it is."""
    left = config.compressed
    made: dict[str | None, nn.Module] = {
        None: nn.Identity(),
        "average": AverageCompressor(grid=left),
        "max": MaxCompressor(grid=left),
        "bilinear": BilinearCompressor(grid=left),
        "unshuffle": UnshuffleCompressor(),
    }
    if config.compressor == "conv2x2":
        return ConvCompressor(dim=config.vision_config.hidden_size)
    return made[config.compressor]


def _blocks(
    grid: Grid, left: tuple[int, int] | None
) -> Float[Tensor, "image fewer_rows fewer_columns height width dim"]:
    """The tokens of each block that becomes one."""
    rows, columns = left or (grid.shape[1] // 2, grid.shape[2] // 2)
    return rearrange(grid, "i (y a) (x b) d -> i y x a b d", y=rows, x=columns)
