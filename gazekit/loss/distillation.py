"""Scores learn where dense attention looks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Look, View
from gazekit.loss._mass import Pool, attention_mass, divergence


@dataclass(frozen=True, kw_only=True)
class DistillationLoss:
    """Pulls the softmax of a row's scores toward the attention that its regions really get: KL, per head.

    Over the regions that are complete for the row, whose true attention is made to sum to one. It trains the pooler
    alone unless `detach` is off, and works with dense attention (`route=None`) as well as with routed.

    Args:
        weight: Factor on its gradient, at least 0.
        pool: How the attention to a region's members becomes one number: "sum", the mass that the region gets (DSA),
            or "max", the highest of them (SeerAttention).
        detach: Whether queries, keys and hidden states get no gradient.

    Raises:
        ValueError: `weight` is negative or `pool` is unknown.

    Source: Gao et al. (2024), SeerAttention; DeepSeek-AI (2025), DeepSeek-V3.2, the indexer's sparse training.
    """

    weight: float = 1.0
    pool: Pool = "sum"
    detach: bool = True

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must be at least 0, got {self.weight}; use Gaze(loss=None) for no loss")
        if self.pool not in get_args(Pool):
            raise ValueError(f'pool must be "sum" or "max", got {self.pool!r}')

    def __call__(
        self, scores: Float[Tensor, "batch head row region"] | None, look: Look, view: View
    ) -> Float[Tensor, ""]:
        """Sum over rows of the divergence, mean over heads; rows without a complete region count as nothing.

        Raises:
            ValueError: There are no scores, since the composition has no pooler.
        """
        if scores is None:
            raise ValueError("DistillationLoss needs scores, got none; set pool, one with weights to train")
        with torch.no_grad():
            target = attention_mass(look, view, self.pool)
        there = view.complete[:, None]
        logits = (scores * view.scale).masked_fill(~there, -math.inf)
        logits = logits.masked_fill(~there.any(-1, keepdim=True), 0.0)
        return divergence(target.to(logits.dtype), logits.log_softmax(-1), there)
