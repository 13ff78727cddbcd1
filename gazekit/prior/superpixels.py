"""Pieces of an image that have one colour."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.contracts import TokenLayout
from gazekit.prior._field import at_tokens, cells_of, grid_of


@dataclass(frozen=True, kw_only=True)
class SuperpixelGuide:
    """Writes superpixels of each image or frame into `layout.segment`: regions that follow edges, not a grid.

    SLIC on the visual grid: k-means of colour and place from seeds on a lattice, without its last step that joins
    islands to their neighbours, so a superpixel may have several parts.

    Args:
        count: Superpixels of a unit, about: as many as a lattice of nearly square cells holds, fewer where some
            end up empty; at least 1.
        compactness: How much a distance of one lattice cell counts beside a difference of colour of 1; above 0.
        steps: Rounds of k-means.

    Raises:
        ValueError: `count` or `steps` is below 1, or `compactness` is not above 0.

    Source: Achanta et al. (2012), SLIC superpixels, IEEE TPAMI 34(11), equations 1 to 3.
    """

    count: int = 16
    compactness: float = 0.5
    steps: int = 5

    def __post_init__(self) -> None:
        for name in ("count", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.compactness > 0:
            raise ValueError(f"compactness must be above 0, got {self.compactness}; large values give a grid")

    def __call__(
        self, layout: TokenLayout, pixels: Float[Tensor, "batch unit 3 height width"]
    ) -> TokenLayout:
        """The layout with the number of the superpixel of each visual token, other numbers in other units."""
        grid = grid_of(layout)
        labels = self._labels(cells_of(pixels, grid).flatten(0, 1)).unflatten(0, pixels.shape[:2])
        unit = torch.arange(pixels.shape[1], device=labels.device)[:, None, None]
        return replace(layout, segment=at_tokens(layout, labels + unit * grid[0] * grid[1], -1))

    def _labels(self, colour: Float[Tensor, "unit 3 row column"]) -> Int[Tensor, "unit row column"]:
        """The nearest centre of each cell, after the last round."""
        rows, columns = colour.shape[2:]
        side = math.sqrt(rows * columns / self.count)
        high, wide = max(1, round(rows / side)), max(1, round(columns / side))
        y, x = torch.meshgrid(
            torch.arange(rows, device=colour.device),
            torch.arange(columns, device=colour.device),
            indexing="ij",
        )
        place = torch.stack([y, x]).to(colour) * (self.compactness / side)
        point = torch.cat([colour, place.expand(len(colour), -1, -1, -1)], dim=1).flatten(2).transpose(1, 2)
        label = (y * high // rows) * wide + x * wide // columns
        label = label.flatten().expand(len(colour), -1)
        for _ in range(self.steps):
            member = torch.nn.functional.one_hot(label, high * wide).to(point)
            held = member.sum(dim=1)[..., None]
            centre = member.transpose(1, 2) @ point / held.clamp_min(1)
            # A centre that has lost all its cells stays without any.
            far = (
                (point[:, :, None] - centre[:, None]).square().sum(-1).masked_fill((held == 0).mT, torch.inf)
            )
            label = far.argmin(dim=-1)
        return label.unflatten(1, (rows, columns))
