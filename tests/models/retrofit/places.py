"""What the vision side of a stock model looks at for each of its tokens."""

from collections.abc import Callable

import torch
from torch import Tensor


def seen(
    model: torch.nn.Module,
    media: dict[str, Tensor],
    features: Callable[[dict[str, Tensor]], Tensor],
    token: int,
) -> tuple[int, ...] | None:
    """The box of pixels that a visual token is made of; None where it is made of none.

    Args:
        model: Its tower's patches must not see each other (`unmixed`).
        media: Model inputs, of which one holds pixels `[... height width]`.
        features: The tokens of one image, from those inputs.
        token: Which of them.

    Returns:
        Index of the tile or frame, first and last row, first and last column.
    """
    name = next(key for key in media if key.startswith("pixel_values"))
    pixels = media[name].clone().requires_grad_()
    taken = features({**media, name: pixels})[token]
    if not taken.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(taken.square().sum(), pixels, allow_unused=True)
    if gradient is None:
        return None
    touched = (gradient != 0).any(dim=-3).flatten(0, -3).nonzero()
    if not len(touched):
        return None
    (tile,) = touched[:, 0].unique().tolist()
    low, high = touched[:, 1:].amin(0).tolist(), touched[:, 1:].amax(0).tolist()
    return tile, low[0], high[0], low[1], high[1]


def unmixed(model: torch.nn.Module) -> torch.nn.Module:
    """The model with a tower whose patches do not see each other."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "vision" in name and any(part in name for part in ("out_proj", "projection_layer", "o_proj")):
                weight.zero_()
    return model
