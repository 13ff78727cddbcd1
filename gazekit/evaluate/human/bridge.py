"""From chosen regions to what people's eyes are compared with."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.evaluate.human.scanpath import Scanpath


def gaze_map(
    index: Int[Tensor, "*batch slot"], box: Int[Tensor, "region 3 2"], size: tuple[int, int], unit: int = 0
) -> Float[Tensor, "height width"]:
    """How often each pixel of an image was looked at, over all steps, layers and heads given; sums to 1.

    A region's share is spread evenly over its pixels. All zero where nothing of the image was chosen.

    Args:
        index: Chosen regions, -1 = empty; pick the steps, layers and heads that are meant.
        box: Half-open ranges of each region along (t, y, x), in tokens (`Regions.box`).
        size: Height and width of the map in pixels.
        unit: Which image or frame: its place along t.
    """
    # A trace's choices lie on the CPU and its regions where the model is.
    index, box = index.cpu(), box.cpu()
    often = torch.bincount(index[index >= 0].flatten().long(), minlength=box.shape[0])[
        : box.shape[0]
    ].double()
    here = (box[:, 0, 0] <= unit) & (unit < box[:, 0, 1])
    inside = _inside(box, size, here)
    area = (inside[0].sum(1) * inside[1].sum(1)).clamp_min(1)
    shown = torch.einsum("r,rh,rw->hw", often * here / area, inside[0], inside[1])
    total = shown.sum()
    return shown / total if total > 0 else shown


def gaze_scanpath(
    index: Int[Tensor, "step *choosers slot"], box: Int[Tensor, "region 3 2"], unit: int = 0
) -> Scanpath:
    """The order in which regions of an image were gazed at: for each step the centre of the most chosen region.

    Ties go to the lowest region. Steps that chose nothing of the image leave no fixation; consecutive steps at one
    region are one fixation that lasts as many steps.

    Args:
        index: Chosen regions of each step, -1 = empty.
        box: Half-open ranges of each region along (t, y, x), in tokens (`Regions.box`).
        unit: Which image or frame: its place along t.
    """
    index, box = index.cpu(), box.cpu()
    here = (box[:, 0, 0] <= unit) & (unit < box[:, 0, 1])
    visited: list[int] = []
    lasted: list[float] = []
    for step in index:
        often = (
            torch.bincount(step[step >= 0].flatten().long(), minlength=box.shape[0])[: box.shape[0]] * here
        )
        if not often.any():
            continue
        region = int(often.argmax())
        if visited and visited[-1] == region:
            lasted[-1] += 1.0
        else:
            visited.append(region)
            lasted.append(1.0)
    extent = box[:, 1:, 1].amax(0).clamp_min(1).double() if box.shape[0] else torch.ones(2).double()
    centre = box[:, 1:].double().mean(-1) / extent
    return Scanpath(place=centre[visited].reshape(-1, 2), duration=torch.tensor(lasted, dtype=torch.float64))


def _inside(box: Tensor, size: tuple[int, int], here: Tensor) -> list[Tensor]:
    """Which rows and which columns of pixels each region covers."""
    covered = []
    for axis, pixels in enumerate(size, start=1):
        cells = int(box[here, axis, 1].max()) if here.any() else 1
        place = torch.arange(pixels) * cells // pixels
        covered.append(((place >= box[:, axis, :1]) & (place < box[:, axis, 1:])).double())
    return covered
