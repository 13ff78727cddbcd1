"""Division of every clip into a grid of cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from gazekit.contracts import Kind, Regions, TokenLayout, regions_from_owner


@dataclass(frozen=True, kw_only=True)
class GridPartition:
    """Cuts the visual tokens of every clip into cells of `size`: the paper's gaze regions (6 x 6 x 1).

    An image is a clip of one frame, so a cell of several frames holds what one frame gives it. The last cells
    of an axis are smaller where `size` does not divide the grid; a `size` beyond the grid gives one region.
    Where tokens lie row by row, frame by frame, ids run through the temporal blocks, then the rows, then the
    columns of a clip, and through the clips in their order.

    Args:
        size: Tokens of a cell along (t, y, x): frames, rows, columns.

    Raises:
        ValueError: `size` is not three whole numbers of at least 1.
    """

    size: tuple[int, int, int] = (1, 6, 6)

    def __post_init__(self) -> None:
        whole = [extent for extent in self.size if isinstance(extent, int) and extent >= 1]
        if len(whole) != 3 or len(self.size) != 3:
            raise ValueError(
                f"size must be three whole numbers (t, y, x) of at least 1 token, got {self.size!r}; "
                "an image's cells have t = 1, as in (1, 6, 6)"
            )
        object.__setattr__(self, "size", tuple(self.size))

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
        cell = layout.place // torch.tensor(self.size, device=layout.place.device)
        sample = torch.arange(visual.shape[0], device=visual.device)[:, None].expand_as(layout.clip)
        name = torch.stack([sample, layout.tokens.document[:, 0], layout.clip, *cell.unbind(-1)], dim=-1)
        return regions_from_owner(_number(name, visual), layout)


def _number(name: Int[Tensor, "batch token part"], member: Tensor) -> Int[Tensor, "batch token"]:
    """Ids per sample, ascending with first members, so that what follows never changes them; -1 = no member.

    Tokens of one region share a `name`; names that differ between samples keep the samples apart.
    """
    owner = torch.full(name.shape[:2], -1, dtype=torch.int64, device=name.device)
    if not bool(member.any()):
        return owner
    place = torch.arange(member.numel(), device=name.device)[member.flatten()]
    _, group = torch.unique(name.flatten(0, 1)[place], dim=0, return_inverse=True)
    first = torch.full_like(group, member.numel()).scatter_reduce(0, group, place, reduce="amin")[group]
    begins = torch.zeros_like(member).flatten()
    begins[first] = True
    rank = begins.view_as(member).cumsum(dim=1) - 1
    owner.view(-1)[place] = rank.flatten()[first]
    return owner
