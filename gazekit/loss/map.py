"""Attention learns where a map from outside looks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Look, View
from gazekit.loss._mass import attention_mass, divergence


@dataclass(frozen=True, kw_only=True)
class MapLoss:
    """Pulls each row's attention over its regions toward a map of the prompt: where a person looked, say.

    Attention is that of dense heads, averaged over them, as shares of what the complete regions get together; the map
    is `layout.prior`, summed over each region, what is below 0 counting as 0. Its gradient reaches the model through
    queries and keys; the pooler is not needed.

    Args:
        weight: Factor on its gradient, at least 0.

    Raises:
        ValueError: `weight` is negative.

    Source: Pani and Yang (2025), Gaze-VLM, which adds the divergence of attention from human gaze maps to the loss.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must be at least 0, got {self.weight}; use Gaze(loss=None) for no loss")

    @property
    def detach(self) -> bool:
        """The scores are not read."""
        return True

    def __call__(
        self, scores: Float[Tensor, "batch head row region"] | None, look: Look, view: View
    ) -> Float[Tensor, ""]:
        """Sum over rows of the divergence; rows whose complete regions the map leaves empty count as nothing.

        Raises:
            ValueError: The layout has no map.
        """
        if view.layout.prior is None:
            raise ValueError(
                "MapLoss needs layout.prior, got none; give the layout a map, or leave the loss out"
            )
        favoured = _by_region(view.layout.prior.clamp_min(0), view)
        mass = attention_mass(look, view).mean(1, keepdim=True)
        there = view.complete[:, None]
        mass = mass.masked_fill(~there, 0.0)
        share = mass / mass.sum(-1, keepdim=True).clamp_min(torch.finfo(mass.dtype).tiny)
        # Far below what a region can get, so that a region without attention costs much, not infinitely much.
        log_share = share.clamp_min(1e-12).log()
        return divergence(favoured[:, None, None].to(mass.dtype).expand_as(mass), log_share, there)


def _by_region(prior: Float[Tensor, "batch token"], view: View) -> Float[Tensor, "batch region"]:
    """What the map gives each region."""
    count = view.regions.count
    owner = torch.where(view.regions.owner >= 0, view.regions.owner, count)
    table = torch.zeros(prior.shape[0], count + 1, dtype=prior.dtype, device=prior.device)
    return table.scatter_add(1, owner, prior)[:, :-1]
