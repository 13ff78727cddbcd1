"""Where people look before anything is known of them or of the image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import TokenLayout
from gazekit.prior._field import at_tokens, grid_of
from gazekit.prior.fixation import Fixations, fixation_map


@dataclass(frozen=True, kw_only=True)
class CentreGuide:
    """Writes the central bias of human gaze into `layout.prior`: the same bell in the middle of every image.

    It stands in for a person's gaze where none was recorded, and is the baseline that a recorded one must beat. Maps of
    real fixations (`fixation_map`, `with_prior`) are given as `gaze_layout`, which no guide changes.

    Args:
        sigma: Spread as a share of the longer side of the visual grid, above 0.

    Raises:
        ValueError: `sigma` is not above 0.

    Source: Tatler (2007), The central fixation bias in scene viewing, Journal of Vision 7(14).
    """

    sigma: float = 0.25

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(
                f"sigma must be above 0, got {self.sigma}; it is a share of the grid's longer side"
            )

    def __call__(
        self, layout: TokenLayout, pixels: Float[Tensor, "batch unit 3 height width"]
    ) -> TokenLayout:
        """The layout with a map from 0 to 1, whatever the pixels show."""
        middle = torch.full((1,), 0.5, device=pixels.device)
        seen = Fixations(x=middle, y=middle, duration=torch.ones_like(middle))
        bell = fixation_map(seen, grid_of(layout), sigma=self.sigma)
        return replace(layout, prior=at_tokens(layout, bell.expand(*pixels.shape[:2], -1, -1), 0.0))
