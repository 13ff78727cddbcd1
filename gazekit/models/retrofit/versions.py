"""What older versions of transformers do wrong with images, and say nothing about."""

from __future__ import annotations

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
