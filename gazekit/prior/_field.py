"""Pixels on the visual grid, and what is found there back at the tokens."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional

from gazekit.contracts import Kind, TokenLayout


def grid_of(layout: TokenLayout) -> tuple[int, int]:
    """Rows and columns of visual tokens of a unit; all units have the same."""
    place = layout.place[layout.kind == Kind.VISUAL]
    if not len(place):
        return (1, 1)
    _, rows, columns = (place.amax(dim=0) + 1).tolist()
    return rows, columns


def cells_of(
    pixels: Float[Tensor, "batch unit 3 height width"], grid: tuple[int, int]
) -> Float[Tensor, "batch unit 3 row column"]:
    """The mean colour under each visual token, in fp32."""
    flat = functional.adaptive_avg_pool2d(pixels.float().flatten(0, 1), grid)
    return flat.unflatten(0, pixels.shape[:2])


def at_tokens(
    layout: TokenLayout, field: Shaped[Tensor, "batch unit row column"], blank: float
) -> Shaped[Tensor, "batch token"]:
    """The field's value at every visual token, `blank` at all others."""
    visual = layout.kind == Kind.VISUAL
    sample, _ = visual.nonzero(as_tuple=True)
    _, y, x = layout.place[visual].unbind(-1)
    found = torch.full(visual.shape, blank, dtype=field.dtype, device=visual.device)
    found[visual] = field[sample, layout.tokens.unit[:, 0][visual], y, x]
    return found
