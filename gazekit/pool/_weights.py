"""Weights that are there once `bind` has made them."""

from __future__ import annotations

from torch import Tensor, nn


def bound(weight: Tensor | None, part: nn.Module) -> Tensor:
    """The weight, which `bind` has made.

    Raises:
        RuntimeError: `bind` has not been called.
    """
    if weight is None:
        name = type(part).__name__
        raise RuntimeError(f"{name} has no weights yet; call bind(sizes) before it describes or scores")
    return weight
