"""An image with the region that owns each of its tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from PIL import Image
from torch import Tensor

from gazekit.contracts import Kind, Regions, TokenLayout

Lines = Float[np.ndarray, "line 2 2"]


@dataclass(frozen=True, eq=False)
class Field:
    """One image or video frame as its regions divide it: what region-wise pictures are drawn over.

    It knows the region of each token rather than boxes, so that runs, segments and single tokens can be drawn as
    well as cells.

    Attributes:
        image: What the model saw; the grid of tokens is laid over all of it.
        owner: The region of each token, -1 = in none.
    """

    image: Image.Image
    owner: Int[np.ndarray, "row column"]

    @staticmethod
    def of(
        image: Image.Image, layout: TokenLayout, regions: Regions, *, sample: int = 0, unit: int = 0
    ) -> Field:
        """The field of one unit of a prompt.

        Args:
            image: What the model saw of the unit.
            layout: The prompt.
            regions: Its division.
            sample: Which sample of the batch.
            unit: Which image or frame of the sample, counted from 0.

        Raises:
            ValueError: The sample has no visual tokens of that unit.
        """
        tokens = layout.tokens
        ours = (tokens.kind[sample, 0] == Kind.VISUAL) & (tokens.unit[sample, 0] == unit)
        if not bool(ours.any()):
            raise ValueError(
                f"unit must be an image or frame of sample {sample}, got {unit}, of which there are no visual "
                "tokens; units count from 0"
            )
        place = layout.place[sample, ours, 1:].cpu().numpy()
        rows, columns = (place.max(axis=0) + 1).tolist()
        owner = np.full((rows, columns), -1, dtype=np.int64)
        owner[place[:, 0], place[:, 1]] = regions.owner[sample, ours].cpu().numpy()
        return Field(image, owner)

    @property
    def regions(self) -> list[int]:
        """The regions that own a token here, ascending."""
        return [region for region in np.unique(self.owner).tolist() if region >= 0]

    def spread(self, values: Float[Tensor, " region"]) -> Float[np.ndarray, "row column"]:
        """The value of each token's region (of all regions of the sample); NaN where a token is in none."""
        table = np.append(values.detach().cpu().double().numpy(), np.nan)
        return table[self.owner]

    def within(self, chosen: Bool[Tensor, " region"]) -> Bool[np.ndarray, "row column"]:
        """True = the token's region is chosen (out of all regions of the sample)."""
        return np.append(chosen.cpu().numpy(), False)[self.owner]

    def borders(self, labels: Shaped[np.ndarray, "row column"], *, frame: bool = True) -> Lines:
        """Lines between tokens of different labels, as `(x, y)` ends in pixels; `frame` adds the outer edge."""
        lines = [*_between(labels, frame)]
        lines += [[(x, y) for y, x in line] for line in _between(labels.T, frame)]
        ends = np.array(lines, dtype=float).reshape(-1, 2, 2)
        rows, columns = labels.shape
        return ends * (self.image.width / columns, self.image.height / rows) - 0.5

    def pixels(self, values: Shaped[np.ndarray, "row column"]) -> Shaped[np.ndarray, "height width"]:
        """Values of tokens spread over the pixels that each token covers."""
        rows, columns = values.shape
        y = np.arange(self.image.height) * rows // self.image.height
        x = np.arange(self.image.width) * columns // self.image.width
        return values[y[:, None], x]


def _between(labels: Shaped[np.ndarray, "row column"], frame: bool) -> list[list[tuple[int, int]]]:
    """Upright lines `(x, y)` to `(x, y + 1)`, in tokens, where the labels left and right of them differ."""
    differs = labels[:, 1:] != labels[:, :-1]
    edge = np.full((labels.shape[0], 1), frame)
    return [[(x, y), (x, y + 1)] for y, x in np.argwhere(np.hstack([edge, differs, edge])).tolist()]
