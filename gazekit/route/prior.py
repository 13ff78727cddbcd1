"""Scores helped by a map from outside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Router, Selection, View


@dataclass(frozen=True, kw_only=True)
class PriorRouter:
    """Adds `weight` times the mean of `layout.prior` over a region's tokens to its logit, then routes.

    The map may be a saliency map (`gazekit.prior.IttiKochSaliency`) or a person's gaze (`gazekit.prior.fixation_map`,
    after Voila-A). A logit is a score times the attention's scale, so `weight` means the same whatever the width of
    a head. Without a pooler the map alone decides, the same for every query.

    Args:
        inner: Chooses by the sums.
        weight: Logits for each unit of the map; below 0 the map repels.
    """

    inner: Router
    weight: float = 1.0

    def __call__(self, scores: Float[Tensor, "batch head row region"] | None, view: View) -> Selection | None:
        """What the inner router chooses; None at openness 1.

        Raises:
            ValueError: The layout has no map.
        """
        if view.openness >= 1:
            return None
        prior = view.layout.prior
        if prior is None:
            raise ValueError(
                "layout.prior must hold a map of the visual tokens for PriorRouter, got none; "
                "write one into the layout with gazekit.prior.with_prior"
            )
        mean = _region_means(prior, view)[:, None, None]
        if scores is None:
            wide = torch.promote_types(prior.dtype, torch.float32)
            shape = (view.complete.shape[0], view.num_heads, *view.complete.shape[1:])
            return self.inner((self.weight / view.scale * mean).to(wide).expand(shape), view)
        return self.inner(scores + (self.weight / view.scale * mean).to(scores.dtype), view)


def _region_means(prior: Float[Tensor, "batch token"], view: View) -> Float[Tensor, "batch region"]:
    """The mean of the map over each region's tokens, in double precision where there is any."""
    wide = torch.float32 if prior.device.type == "mps" else torch.float64
    owner, count = view.regions.owner, view.regions.count
    total = torch.zeros(owner.shape[0], count + 1, dtype=wide, device=prior.device)
    total = total.scatter_add(1, torch.where(owner >= 0, owner, count), prior.to(wide))[:, :count]
    return total / view.regions.size.clamp_min(1)
