"""How much of the attention each region would get, judged by its score."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import View

TOLERANCE = 1e-6


def logits_of(
    scores: Float[Tensor, "batch #head row region"], view: View, by_size: bool
) -> Float[Tensor, "batch #head row region"]:
    """Scaled scores in double precision (single on devices without it), incomplete regions at minus infinity.

    Args:
        scores: Of the heads that choose.
        view: Says what is complete.
        by_size: Adds `log(size)`: the mass of a region whose tokens all match like its descriptor.
    """
    wide = torch.float32 if scores.device.type == "mps" else torch.float64
    logits = scores.to(wide) * view.scale
    if by_size:
        logits = logits + view.regions.size.clamp_min(1).to(wide).log()[:, None, None]
    return logits.masked_fill(~view.complete[:, None], -math.inf)


def range_of(logits: Float[Tensor, "batch #head row region"]) -> Float[Tensor, "batch #head row region"]:
    """Logits shifted and scaled to 0 ... 1 within each row, as shares of their sum; even where all are equal."""
    if logits.shape[-1] == 0:
        return logits
    there = logits > -math.inf
    high = logits.amax(dim=-1, keepdim=True)
    low = logits.masked_fill(~there, math.inf).amin(dim=-1, keepdim=True)
    even = (high == low).expand_as(logits)
    height = torch.where(even, 1.0, (logits - low) / (high - low).masked_fill(high == low, 1.0))
    height = height.masked_fill(~there, 0.0)
    return height / height.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(height.dtype).tiny)


def share_of(logits: Float[Tensor, "batch #head row region"]) -> Float[Tensor, "batch #head row region"]:
    """The softmax over a row's regions; 0 throughout where nothing may be chosen."""
    return logits.softmax(dim=-1).nan_to_num(nan=0.0)
