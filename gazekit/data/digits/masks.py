"""Where the ink of a digit lies in terms of a grid of tokens or regions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

from gazekit.data.digits.mosaics import Mosaic


def mask_shares(
    masks: Bool[np.ndarray, "mask height width"], grid: tuple[int, int]
) -> Float[np.ndarray, "mask row column"]:
    """The share of each mask that lies in each cell of a grid laid over the image, 0 to 1.

    The grid is any division of the image into rows and columns: visual tokens, regions of them, or the
    mosaic's own cells. A pixel that two cells of the grid divide counts in both by area. An empty mask has a
    share of 0 everywhere.

    Raises:
        ValueError: If the grid has no row or no column.
    """
    if min(grid) < 1:
        raise ValueError(f"grid must have at least one row and one column, got {grid}; give (rows, columns)")
    down, across = (_overlaps(size, parts) for size, parts in zip(masks.shape[1:], grid, strict=True))
    area = np.einsum("rh,mhw,cw->mrc", down, masks.astype(np.float64), across, optimize=True)
    total = masks.sum(axis=(1, 2)).astype(np.float64)
    return area / np.maximum(total, 1)[:, None, None]


def crosses_border(mosaic: Mosaic) -> Bool[np.ndarray, "row column"]:
    """Whether the ink of a cell's digit reaches into another cell."""
    spec = mosaic.spec
    shares = mask_shares(mosaic.masks, (spec.rows, spec.columns)).reshape(spec.cells, spec.cells)
    return (np.diagonal(shares) < 1 - 1e-9).reshape(spec.rows, spec.columns)


def crossing_share(mosaics: Iterable[Mosaic]) -> float:
    """The share of digits whose ink reaches into another cell, over all mosaics given."""
    crossed = np.stack([crosses_border(mosaic) for mosaic in mosaics])
    return float(crossed.mean())


def _overlaps(size: int, parts: int) -> Float[np.ndarray, "part pixel"]:
    """How much of each pixel lies in each of `parts` equal stretches of a side of `size` pixels."""
    edges = np.arange(parts + 1) * size / parts
    pixel = np.arange(size)
    return np.clip(np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel), 0, 1)
