"""Shots of a video."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import TokenLayout
from gazekit.prior._field import at_tokens, cells_of, grid_of


@dataclass(frozen=True, kw_only=True)
class ShotGuide:
    """Writes the shots of each video into `layout.segment`: a new one begins where the picture changes at once.

    That is where the mean change of colour between a frame and the one before exceeds `threshold`, over all visual
    tokens. An image is a shot of its own, since segments never span clips.

    Args:
        threshold: Change in units of the pixels that the model is given (SigLIP's go from -1 to 1), at least 0.

    Raises:
        ValueError: `threshold` is negative.

    Source: Cai et al. (2025), Mixture of Contexts, whose chunks end with shots.
    """

    threshold: float = 0.3

    def __post_init__(self) -> None:
        if self.threshold < 0:
            raise ValueError(f"threshold must be at least 0, got {self.threshold}; 0 cuts at every change")

    def __call__(
        self, layout: TokenLayout, pixels: Float[Tensor, "batch unit 3 height width"]
    ) -> TokenLayout:
        """The layout with the number of the shot of each visual token."""
        grid = grid_of(layout)
        colour = cells_of(pixels, grid)
        change = (colour[:, 1:] - colour[:, :-1]).abs().mean(dim=(2, 3, 4))
        cut = torch.nn.functional.pad((change > self.threshold).long(), (1, 0))
        # Shots are counted through a sample; what is one number in two clips is two segments.
        shot = cut.cumsum(dim=1)[..., None, None].expand(-1, -1, *grid)
        return replace(layout, segment=at_tokens(layout, shot, -1))
