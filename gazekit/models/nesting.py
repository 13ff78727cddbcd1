"""How users nest images and videos in lists, and what is meant by it."""

from __future__ import annotations

from typing import Any

import numpy as np


def per_text(name: str, value: Any, count: int, single: bool) -> list[Any]:
    """One list for each text. Those of a single text need no list around them, nor does its only item.

    Args:
        name: "images", "videos" or "timestamps".
        value: Whatever the user gave under that name.
        count: Number of texts.
        single: Whether one text was given, and not a list of one.

    Raises:
        ValueError: The lists are not as deep as that takes, or not as many as the texts.
    """
    own = {"images": 1, "videos": 2, "timestamps": 2}[name]
    depth = _depth(value)
    if depth < 0:
        return [[]] * count
    while single and depth <= own:
        value, depth = [value], depth + 1
    if depth != own + 1 or len(value) != count:
        raise ValueError(
            f"{name} must be given as one list for each of the {count} texts; "
            "write [[...], [...]], with [] for a text that shows none"
        )
    return list(value)


def _depth(value: Any) -> int:
    """How deep images, or numbers, lie in lists; an array of frames is a list of them. -1 = there are none."""
    if isinstance(value, np.ndarray):
        return int(value.ndim == 4)
    if not isinstance(value, (list, tuple)):
        return -1 if value is None else 0
    inner = max((_depth(item) for item in value), default=-1)
    return inner if inner < 0 else inner + 1
