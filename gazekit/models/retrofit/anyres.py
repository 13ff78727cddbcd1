"""Images of any resolution as LLaVA packs them: an overview, then tiles laid back on one grid that ends in newlines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from transformers.image_processing_utils import select_best_resolution

from gazekit.models.retrofit.media import Medium, grid, joined


def high_resolution(
    image_size: tuple[int, int], resolutions: Sequence[Sequence[int]], tile: int, side: int
) -> tuple[int, int]:
    """Rows and columns of tokens that are left of the tiles of an image without the borders it was padded with.

    Args:
        image_size: `(height, width)` of the picture before any resizing, in pixels.
        resolutions: `(height, width)` of the canvases to choose from, in pixels: the config's `image_grid_pinpoints`.
        tile: Side of a tile, in pixels.
        side: Side of a tile, in tokens.
    """
    best = select_best_resolution(image_size, [tuple(one) for one in resolutions])
    height, width = image_size
    rows, columns = (edge // tile * side for edge in best)
    # The borders that the image processor added stood above and below of a picture that is wider than its canvas.
    if width / height > columns / rows:
        rows -= 2 * _border(rows, height * (columns / width))
    else:
        columns -= 2 * _border(columns, width * (rows / height))
    return rows, columns


def shrunk(rows: int, columns: int, side: int, most: int) -> tuple[int, int]:
    """Rows and columns after interpolation, where they hold more than about `most` tiles of `side` x `side` tokens."""
    ratio = math.sqrt(rows * columns / (most * side**2))
    return (int(rows // ratio), int(columns // ratio)) if ratio > 1.1 else (rows, columns)


def overview_and_tiles(side: int, rows: int, columns: int) -> Medium:
    """An overview on a grid of its own, then the high resolution, each of whose rows ends in a newline token."""
    return joined([grid(side, side), grid(rows, columns + 1)])


def with_newline(medium: Medium, rows: int, columns: int) -> Medium:
    """A medium of one grid and the one newline token behind it, as another column of its last frame's last row."""
    place = torch.tensor([[int(medium.place[-1, 0]), rows - 1, columns]])
    return Medium(
        place=torch.cat([medium.place, place]),
        unit=torch.cat([medium.unit, medium.unit[-1:]]),
        grid=torch.cat([medium.grid, medium.grid[-1:]]),
    )


def sizes_of(image_sizes: Int[Tensor, "image 2"] | None, has_images: bool) -> list[tuple[int, int]]:
    """`(height, width)` of every picture of a batch, in pixels.

    Raises:
        ValueError: There are images, but no sizes.
    """
    if image_sizes is None and has_images:
        raise ValueError(
            "image_sizes must be given with images: how many tokens an image has, and where they lie, follows from "
            "its size; pass what the processor returned"
        )
    return [] if image_sizes is None else [(height, width) for height, width in image_sizes.tolist()]


def _border(canvas: int, content: float) -> int:
    # Rounded as transformers does, or sizes that divide evenly would be off by one.
    return (canvas - int(round(content, 7))) // 2
