"""A map for every image that comes, of what stands out in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import TokenLayout
from gazekit.prior._field import at_tokens, grid_of
from gazekit.prior.itti import IttiKochSaliency


@dataclass(frozen=True, kw_only=True)
class SaliencyGuide:
    """Writes the saliency of each image or frame into `layout.prior`: bottom-up attention without being asked.

    Args:
        saliency: What stands out, on a visual grid.
        mean: What the image processor takes off every channel; 0.5 for SigLIP.
        std: What it then divides by.
    """

    saliency: IttiKochSaliency = field(default_factory=IttiKochSaliency)
    mean: float = 0.5
    std: float = 0.5

    def __call__(
        self, layout: TokenLayout, pixels: Float[Tensor, "batch unit 3 height width"]
    ) -> TokenLayout:
        """The layout with a map from 0 to 1 of each unit."""
        colours = (pixels.float() * self.std + self.mean).clamp(0, 1)
        # Convolutions in the width that autocast would choose give maps of their own.
        with torch.no_grad(), torch.autocast(pixels.device.type, enabled=False):
            maps = self.saliency(colours.flatten(0, 1), grid_of(layout))
        return replace(layout, prior=at_tokens(layout, maps.unflatten(0, pixels.shape[:2]), 0.0))
