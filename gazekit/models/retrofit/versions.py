"""What older versions of transformers do wrong with images, and say nothing about."""

from __future__ import annotations

from typing import Any

import transformers
from packaging.version import Version

_INSTALLED = Version(transformers.__version__)
# The first version whose stock models are right; below it images get wrong positions, or other images' features.
_RIGHT_SINCE = {
    "prefill in chunks": "5.23",
    "a later turn": "5.23",
    "guessing ahead": "5.18",
}


def check_version(use: str) -> None:
    """Refuses what the stock model would get wrong.

    Args:
        use: "prefill in chunks", "a later turn" or "guessing ahead", with images or videos among the inputs.

    Raises:
        ValueError: This transformers is too old for it.
    """
    needed = _RIGHT_SINCE[use]
    if Version(needed) > _INSTALLED:
        raise ValueError(
            f"{use} with images needs transformers of at least {needed}, got {_INSTALLED}, whose stock "
            "models go wrong there; update transformers, or generate from the whole prompt at once"
        )


def goes_on(model: Any) -> bool:
    """Whether a model goes on from the cache of an earlier turn, images in later ones included: one with gaze does.

    Stock models are handed the features of all images then and fail; older versions of transformers go wrong.
    """
    right = Version(_RIGHT_SINCE["a later turn"]) <= _INSTALLED or hasattr(model, "set_gaze")
    return bool(getattr(model, "gazes", ())) and right
