"""Where a person looked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Fixations:
    """A trace of a person's gaze.

    Attributes:
        x: From 0 (the left edge of the image) to 1 (the right one).
        y: From 0 (the upper edge) to 1 (the lower one).
        duration: How long the eye rested there, in any unit of time; at least 0.
        unit: The image or frame that was looked at, counted from 0; None = there is but one.
    """

    x: Float[Tensor, " fixation"]
    y: Float[Tensor, " fixation"]
    duration: Float[Tensor, " fixation"]
    unit: Int[Tensor, " fixation"] | None = None


def fixation_map(
    fixations: Fixations, grid: tuple[int, int], *, num_units: int = 1, sigma: float = 0.05
) -> Float[Tensor, "unit row column"]:
    """How much each place of the visual grid was looked at: a Gaussian for each fixation, as in Voila-A.

    Args:
        fixations: What was looked at; fixations outside the image count as far as their Gaussian reaches in.
        grid: Rows and columns of visual tokens.
        num_units: Images or frames.
        sigma: Spread of a Gaussian as a share of the longer side of the grid; 0.05 is about two degrees of sight
            where the image fills forty.

    Returns:
        From 0 to 1, where the place of a unit that was looked at longest has 1; 0 for a unit not looked at.

    Raises:
        ValueError: `sigma` is not above 0, a duration is negative, or a unit is not among `num_units`.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be above 0, got {sigma}; it is a share of the grid's longer side")
    if bool((fixations.duration < 0).any()):
        raise ValueError("duration must be at least 0 for every fixation, got less for some")
    unit = torch.zeros_like(fixations.x, dtype=torch.int64) if fixations.unit is None else fixations.unit
    if unit.numel() and not 0 <= int(unit.min()) <= int(unit.max()) < num_units:
        raise ValueError(
            f"unit must be from 0 to below num_units = {num_units}, got {int(unit.min())} to {int(unit.max())}"
        )
    rows, columns = grid
    spread = sigma * max(grid)
    near = [
        torch.exp(
            -((torch.arange(count, device=at.device) + 0.5 - at[:, None] * count) ** 2) / (2 * spread**2)
        )
        for at, count in ((fixations.y, rows), (fixations.x, columns))
    ]
    bells = near[0][:, :, None] * near[1][:, None, :] * fixations.duration[:, None, None]
    total = bells.new_zeros(num_units, rows, columns).index_add(0, unit, bells)
    return total / total.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(total.dtype).tiny)
