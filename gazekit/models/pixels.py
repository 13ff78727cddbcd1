"""Pictures of units to what the tower takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.models.pictures import open_picture, pad_picture


def fill_of(image_processor: Any) -> tuple[int, int, int]:
    """The mean colour of a SigLIP image processor, in bytes: what borders are filled with."""
    red, green, blue = (int(mean * 255) for mean in image_processor.image_mean)
    return red, green, blue


def pixels_of(
    units: Sequence[Sequence[Any]], image_processor: Any, *, frames_per_unit: int, resize: str
) -> Float[Tensor, "unit channel height width"]:
    """The channels of each unit's frames one behind another, resized and normalised.

    Args:
        units: Of `frames_per_unit` frames each.
        image_processor: SigLIP's.
        frames_per_unit: Frames of a unit.
        resize: "squash", or "pad" with borders of the mean colour.

    Raises:
        ValueError: An image cannot be decoded.
    """
    height, width = image_processor.size["height"], image_processor.size["width"]
    if not units:
        return torch.zeros(0, 3 * frames_per_unit, height, width)
    # A frame that fills up, as an image's copies do, is prepared once.
    frames = {id(frame): frame for unit in units for frame in unit}
    pictures = [open_picture(frame) for frame in frames.values()]
    if resize == "pad":
        fill = fill_of(image_processor)
        pictures = [pad_picture(one, aspect=width / height, fill=fill) for one in pictures]
    pixels = image_processor(images=pictures, return_tensors="pt")["pixel_values"]
    if frames_per_unit == 1 and len(frames) == len(units):
        return pixels
    rank = {frame: number for number, frame in enumerate(frames)}
    return torch.stack([torch.cat([pixels[rank[id(frame)]] for frame in unit]) for unit in units])
