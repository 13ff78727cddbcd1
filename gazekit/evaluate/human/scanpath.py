"""Likeness of two orders of looking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Scanpath:
    """Places looked at, in order.

    Attributes:
        place: Vertical and horizontal place of each fixation, in [0, 1] of the image's height and width.
        duration: How long each lasted, in any unit that both paths share; None = all alike.

    Raises:
        ValueError: A place lies outside the image, or durations do not align or are not positive.
    """

    place: Float[Tensor, "fixation 2"]
    duration: Float[Tensor, " _"] | None = None

    def __post_init__(self) -> None:
        if self.place.numel() and not ((self.place >= 0) & (self.place <= 1)).all():
            raise ValueError("place must be in [0, 1] of the image; divide pixels by its height and width")
        if self.duration is not None:
            if self.duration.shape[0] != self.place.shape[0]:
                raise ValueError(
                    f"duration must align with place, got {self.duration.shape[0]} for {self.place.shape[0]} fixations"
                )
            if not (self.duration > 0).all():
                raise ValueError("duration must be positive; drop fixations that did not last")


def scanmatch(
    one: Scanpath,
    other: Scanpath,
    *,
    grid: tuple[int, int] = (8, 12),
    threshold: float | None = None,
    gap: float = 0.0,
    bin_width: float | None = None,
) -> float:
    """ScanMatch: both paths as letters of a grid, aligned by Needleman and Wunsch, over the score of a perfect match.

    Two cells are worth `1 - distance / threshold`: 1 for the same cell, 0 at the threshold, less beyond. 1 = equal
    sequences; near 0 and below = nothing in common. Two empty paths are equal; one empty path is worth 0 against any
    other where gaps cost nothing.

    Source: Cristino et al. (2010), with Euclidean distances between cells and its defaults: grid of 12 x 8, gap 0,
    threshold of 3.5 cells.

    Args:
        one: A path.
        other: Another, of the same image.
        grid: Rows and columns of cells.
        threshold: Distance in cells at which two cells are worth nothing; None = 3.5.
        gap: What a place without a partner is worth; 0 or below.
        bin_width: Duration that one letter stands for: a fixation is repeated for each full or begun bin; None =
            durations do not matter.

    Raises:
        ValueError: An argument is out of range, or `bin_width` is given and a path has no durations.
    """
    threshold = 3.5 if threshold is None else threshold
    if min(grid) < 1 or threshold <= 0 or gap > 0 or (bin_width is not None and bin_width <= 0):
        raise ValueError(
            "scanmatch needs a grid of at least 1 x 1, a threshold and a bin_width above 0 and a gap of at most 0, "
            f"got grid={grid}, threshold={threshold}, gap={gap}, bin_width={bin_width}"
        )
    first, second = _cells(one, grid, bin_width), _cells(other, grid, bin_width)
    if not len(first) and not len(second):
        return 1.0
    distance = np.linalg.norm(first[:, None] - second[None], axis=-1)
    worth = 1.0 - distance / threshold
    best = np.zeros((len(first) + 1, len(second) + 1))
    best[:, 0] = gap * np.arange(len(first) + 1)
    best[0] = gap * np.arange(len(second) + 1)
    for row in range(1, len(first) + 1):
        for column in range(1, len(second) + 1):
            best[row, column] = max(
                best[row - 1, column - 1] + worth[row - 1, column - 1],
                best[row - 1, column] + gap,
                best[row, column - 1] + gap,
            )
    return float(best[-1, -1] / max(len(first), len(second)))


def _cells(path: Scanpath, grid: tuple[int, int], bin_width: float | None) -> np.ndarray:
    """Row and column of the cell of each letter."""
    size = torch.tensor(grid)
    cells = torch.minimum((path.place.cpu().double() * size).long(), size - 1)
    if bin_width is not None:
        if path.duration is None:
            raise ValueError("bin_width needs durations in both paths; leave it out to compare places alone")
        cells = cells.repeat_interleave(torch.ceil(path.duration.cpu() / bin_width).long(), dim=0)
    return cells.numpy().astype(np.float64)
