"""Bottom-up saliency of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_SMALLEST = 4


@dataclass(frozen=True, kw_only=True)
class IttiKochSaliency:
    """What stands out by itself, whatever is asked: the map of Itti, Koch and Niebur (1998).

    Intensity, two colour opponencies and orientations are compared between fine and coarse levels of a pyramid
    (centre minus surround); each difference is weighed up where it has one peak and down where it has many, and all
    of a kind are added. It needs no training and is the classical baseline for what a question adds.

    Levels beyond the size of the image are left out, so that small images have saliency too, of fewer levels.

    Args:
        centers: Levels of the pyramid that are centres, each half as wide as the one before; level 0 is the image.
        deltas: How many levels coarser than its centre a surround is.
        num_orientations: Orientations of the Gabor filters, evenly spread over half a turn.

    Raises:
        ValueError: A number is negative, there are no centres or deltas, or `num_orientations` is below 1.
    """

    centers: tuple[int, ...] = (2, 3, 4)
    deltas: tuple[int, ...] = (3, 4)
    num_orientations: int = 4

    def __post_init__(self) -> None:
        if not self.centers or not self.deltas or min(self.centers) < 0 or min(self.deltas) < 1:
            raise ValueError(
                "centers must be levels of at least 0 and deltas steps of at least 1, "
                f"got centers={self.centers}, deltas={self.deltas}; the paper has (2, 3, 4) and (3, 4)"
            )
        if self.num_orientations < 1:
            raise ValueError(
                f"num_orientations must be at least 1, got {self.num_orientations}; the paper has 4"
            )
        object.__setattr__(self, "centers", tuple(self.centers))
        object.__setattr__(self, "deltas", tuple(self.deltas))

    def __call__(
        self, images: Float[Tensor, "unit 3 height width"], grid: tuple[int, int]
    ) -> Float[Tensor, "unit row column"]:
        """Saliency on the visual grid.

        Args:
            images: RGB in [0, 1].
            grid: Rows and columns of visual tokens.

        Returns:
            From 0 to 1, where the most salient token of an image has 1; 0 throughout where nothing stands out.
        """
        maps = self._conspicuities(images)
        total = torch.stack([_normalised(kind) for kind in maps]).mean(dim=0)
        cells = functional.adaptive_avg_pool2d(total[:, None], grid)[:, 0]
        cells = cells - cells.amin(dim=(1, 2), keepdim=True)
        return cells / cells.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(cells.dtype).tiny)

    def _conspicuities(
        self, images: Float[Tensor, "unit 3 height width"]
    ) -> list[Float[Tensor, "unit row column"]]:
        """One map each for intensity, colour and orientation, all of the size of the finest centre."""
        pyramid = _pyramid(images, max(self.centers) + max(self.deltas))
        pairs = self._pairs(len(pyramid))
        red, green, blue = (functional.relu(colour) for colour in images.unbind(dim=1))
        bright = images.mean(dim=1)
        # Hues are told only where there is light enough: above a tenth of the brightest.
        lit = bright > 0.1 * bright.amax(dim=(1, 2), keepdim=True)
        hue = torch.where(lit[:, None], images / bright.clamp_min(1e-6)[:, None], torch.zeros_like(images))
        red, green, blue = hue.unbind(dim=1)
        reds, greens = functional.relu(red - (green + blue) / 2), functional.relu(green - (red + blue) / 2)
        blues = functional.relu(blue - (red + green) / 2)
        yellows = functional.relu((red + green) / 2 - (red - green).abs() / 2 - blue)
        intensity = [level.mean(dim=1) for level in pyramid]
        levels = len(pyramid) - 1
        colours = [
            [level[:, 0] for level in _pyramid(opposed[:, None], levels)]
            for opposed in (reds - greens, blues - yellows)
        ]
        oriented = [
            [_gabor(level, math.pi * turn / self.num_orientations) for level in intensity]
            for turn in range(self.num_orientations)
        ]
        size = intensity[pairs[0][0]].shape[1:]
        orientation = [_normalised(_across(levels, pairs, size)) for levels in oriented]
        return [
            _across(intensity, pairs, size),
            torch.stack([_across(levels, pairs, size) for levels in colours]).sum(dim=0),
            torch.stack(orientation).sum(dim=0),
        ]

    def _pairs(self, num_levels: int) -> list[tuple[int, int]]:
        """Centre and surround levels that the pyramid has; of a small one the finest and the coarsest."""
        pairs = [(c, c + d) for c in sorted(self.centers) for d in self.deltas if c + d < num_levels]
        return pairs or [(0, num_levels - 1)]


def _pyramid(
    images: Float[Tensor, "unit channel height width"], levels: int
) -> list[Float[Tensor, "unit channel _ _"]]:
    """The images, and each level half as wide as the one before, after a Gaussian; it ends at 4 pixels."""
    tap = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=images.dtype, device=images.device) / 16
    channels = images.shape[1]
    kernel = (tap[:, None] * tap).expand(channels, 1, 5, 5)
    pyramid = [images]
    while len(pyramid) <= levels and min(pyramid[-1].shape[2:]) >= 2 * _SMALLEST:
        padded = functional.pad(pyramid[-1], (2, 2, 2, 2), mode="replicate")
        pyramid.append(functional.conv2d(padded, kernel, stride=2, groups=channels))
    return pyramid


def _gabor(level: Float[Tensor, "unit height width"], angle: float) -> Float[Tensor, "unit height width"]:
    """How strongly each place is striped at `angle`: the size of a pair of Gabor filters' answer."""
    ticks = torch.arange(-3, 4, dtype=level.dtype, device=level.device)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    along = x * math.cos(angle) + y * math.sin(angle)
    bell = torch.exp(-(x**2 + y**2) / 8)
    waves = torch.stack([wave(2 * math.pi * along / 4) * bell for wave in (torch.cos, torch.sin)])
    # Without their mean they answer to stripes, not to light.
    waves = waves - bell * (waves.sum(dim=(1, 2), keepdim=True) / bell.sum())
    padded = functional.pad(level[:, None], (3, 3, 3, 3), mode="replicate")
    answer = functional.conv2d(padded, (waves / bell.sum())[:, None])
    return answer.square().sum(dim=1).sqrt()


def _across(
    levels: list[Float[Tensor, "unit _ _"]], pairs: list[tuple[int, int]], size: tuple[int, ...]
) -> Float[Tensor, "unit row column"]:
    """The sum of all differences between centre and surround, each brought to one range and weighed."""
    total = levels[0].new_zeros(len(levels[0]), *size)
    for center, surround in pairs:
        difference = (levels[center] - _resized(levels[surround], levels[center].shape[1:])).abs()
        total = total + _resized(_normalised(difference), size)
    return total


def _normalised(values: Float[Tensor, "unit row column"]) -> Float[Tensor, "unit row column"]:
    """The operator N: scaled to [0, 1], times the squared distance of the peak from the other local maxima.

    One peak among little is kept, many equal ones are put down.
    """
    low = values.amin(dim=(1, 2), keepdim=True)
    span = values.amax(dim=(1, 2), keepdim=True) - low
    # What differs by rounding alone is flat.
    scaled = torch.where(span > 1e-6, (values - low) / span.clamp_min(1e-6), torch.zeros_like(values))
    reach = max(1, min(values.shape[1:]) // 8)
    around = functional.max_pool2d(scaled[:, None], 2 * reach + 1, stride=1, padding=reach)[:, 0]
    peak = (scaled >= around) & (scaled > 0.05)
    other = peak & (scaled < 1)
    mean = (scaled * other).sum(dim=(1, 2), keepdim=True) / other.sum(dim=(1, 2), keepdim=True).clamp_min(1)
    # Peaks as high as the highest are others too, but for the first of them.
    ties = (peak & (scaled >= 1)).sum(dim=(1, 2), keepdim=True) - 1
    count = other.sum(dim=(1, 2), keepdim=True) + ties
    mean = (mean * other.sum(dim=(1, 2), keepdim=True) + ties) / count.clamp_min(1)
    return scaled * (1 - mean).square()


def _resized(values: Float[Tensor, "unit _ _"], size: tuple[int, ...]) -> Float[Tensor, "unit row column"]:
    """Bilinear interpolation."""
    return functional.interpolate(values[:, None], size=tuple(size), mode="bilinear", align_corners=False)[
        :, 0
    ]
