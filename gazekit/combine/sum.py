"""Branches added up with fixed weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Look


@dataclass(frozen=True, kw_only=True)
class SumCombine:
    """Adds the answers of the branches up, each times its weight.

    Args:
        weights: One for each branch, in their order; None = their mean.

    Raises:
        ValueError: `weights` is empty.

    Source: Zhang et al. (2025), VSA, whose coarse and fine answers are added.
    """

    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and not self.weights:
            raise ValueError(
                "weights must hold one number for each branch, got none; leave it out for the mean"
            )

    def __call__(
        self, look: Look, outs: Sequence[Float[Tensor, "batch head query value_dim"]]
    ) -> Float[Tensor, "batch head query value_dim"]:
        """The weighted sum.

        Raises:
            ValueError: The weights and the branches differ in number.
        """
        weights = (1 / len(outs),) * len(outs) if self.weights is None else self.weights
        if len(weights) != len(outs):
            raise ValueError(
                f"weights must hold one number for each of the {len(outs)} branches, got {len(weights)}"
            )
        total = outs[0] * weights[0]
        for out, weight in zip(outs[1:], weights[1:], strict=True):
            total = total + out * weight
        return total
