"""Division of every clip into a grid of cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gazekit.contracts import Kind, Regions, TokenLayout, regions_from_owner
from gazekit.partition._number import number


@dataclass(frozen=True, kw_only=True)
class GridPartition:
    """Cuts the visual tokens of every clip into cells of `size`: the paper's gaze regions (6 x 6 x 1).

    An image is a clip of one frame, so a cell of several frames holds what one frame gives it; a video is one clip
    of all its frames. The last cells of an axis are smaller where `size` does not divide the grid; a `size` beyond
    the grid gives one region. Where tokens lie row by row, frame by frame, ids run through the temporal blocks, then
    the rows, then the columns of a clip, and through the clips in their order.

    With a `shift` the first cells of an axis are `shift` tokens long and the others follow: grids that are
    shifted from layer to layer let what one grid cuts apart meet in the next (Liu et al. 2021, Swin).

    Args:
        size: Tokens of a cell along (t, y, x): frames, rows, columns.
        shift: Tokens of the first, smaller cell along (t, y, x); 0 = the first cell is a whole one.

    Raises:
        ValueError: `size` is not three whole numbers of at least 1, or `shift` not three of at least 0 below them.
    """

    size: tuple[int, int, int] = (1, 6, 6)
    shift: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        whole = [extent for extent in self.size if isinstance(extent, int) and extent >= 1]
        if len(whole) != 3 or len(self.size) != 3:
            raise ValueError(
                f"size must be three whole numbers (t, y, x) of at least 1 token, got {self.size!r}; "
                "an image's cells have t = 1, as in (1, 6, 6)"
            )
        moves = [isinstance(by, int) and 0 <= by < side for by, side in zip(self.shift, whole, strict=False)]
        if len(self.shift) != 3 or not all(moves):
            raise ValueError(
                f"shift must be three whole numbers (t, y, x) from 0 to below size {tuple(self.size)}, "
                f"got {self.shift!r}; a shift by a whole cell is none"
            )
        object.__setattr__(self, "size", tuple(self.size))
        object.__setattr__(self, "shift", tuple(self.shift))

    @property
    def kinds(self) -> frozenset[Kind]:
        """Visual tokens: the only ones that have a place."""
        return frozenset({Kind.VISUAL})

    def __call__(self, layout: TokenLayout) -> Regions:
        """The cells of a prompt.

        Raises:
            ValueError: A visual token has no place.
        """
        visual = layout.kind == Kind.VISUAL
        if bool((layout.place[visual] < 0).any()):
            raise ValueError(
                "layout.place must be (t, y, x) of at least 0 for every visual token, got -1 for some; "
                "build the layout with places, or divide it by something other than a grid"
            )
        size, shift = (torch.tensor(three, device=layout.place.device) for three in (self.size, self.shift))
        cell = (layout.place - shift).div(size, rounding_mode="floor")
        name = torch.cat([layout.tokens.document[:, 0, :, None], layout.clip[..., None], cell], dim=-1)
        return regions_from_owner(number(name, visual), layout)
