"""The fewest regions that hold a given mass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Selection, View
from gazekit.route._mass import TOLERANCE, logits_of, range_of, share_of
from gazekit.route._select import (
    Pool,
    Share,
    check_count,
    check_share,
    heads_of,
    needed,
    opened,
    ranked,
    selection_of,
    shared,
)

Weigh = Literal["softmax", "range"]


@dataclass(frozen=True, kw_only=True)
class NucleusRouter:
    """Looks at the fewest complete regions whose softmax over the scaled scores holds `mass`: top-p (Twilight).

    Sure queries read little and unsure ones more, where a `TopKRouter` reads the same for all. While the schedule's
    openness is above 0 the mass opens with it, `mass + openness * (1 - mass)`, and so does the cap,
    `max_k + ceil(openness * (complete regions - max_k))`.

    Args:
        mass: Share of the softmax, in (0, 1]; 1 keeps all. It is reached within a millionth.
        max_k: Regions at most; None = no cap.
        min_k: Regions at least, where so many are complete.
        share: Who chooses together, as for `TopKRouter`.
        pool: What the scores of heads that choose together are pooled by, "mean" or "max".
        by_size: Weighs each region by its tokens, adding `log(size)` to its logit. For means of regions that
            differ in size; leave it out where the scores stand for whole regions already.
        weigh: What a region's share is taken of. "softmax": attention, as the scores estimate it. "range": the
            scores themselves, shifted and scaled to 0 ... 1 within the row (VMoBA's code), so that the share is
            the same however sharp they are.

    Raises:
        ValueError: `mass` is outside (0, 1], not `1 <= min_k <= max_k`, or `share`, `pool` or `weigh` is unknown.
    """

    mass: float
    max_k: int | None = None
    min_k: int = 1
    share: Share = "head"
    pool: Pool = "mean"
    by_size: bool = False
    weigh: Weigh = "softmax"

    def __post_init__(self) -> None:
        if not 0 < self.mass <= 1:
            raise ValueError(
                f"mass must lie in (0, 1], got {self.mass}; 0.9 looks at the regions that hold 90 %"
            )
        check_count("min_k", self.min_k)
        check_count("max_k", self.max_k)
        if self.max_k is not None and self.max_k < self.min_k:
            raise ValueError(f"max_k must be at least min_k = {self.min_k}, got {self.max_k}")
        check_share(self.share, self.pool)
        if self.weigh not in get_args(Weigh):
            raise ValueError(f'weigh must be "softmax" or "range" of the scores, got {self.weigh!r}')

    def __call__(self, scores: Float[Tensor, "batch head row region"] | None, view: View) -> Selection | None:
        """The regions of the nucleus; None at openness 1.

        Raises:
            ValueError: There are no scores, since the composition has no pooler.
        """
        scores = needed(scores, "NucleusRouter")
        if view.openness >= 1:
            return None
        logits = logits_of(shared(scores, heads_of(self.share, view), self.pool), view, self.by_size)
        num_regions = logits.shape[-1]
        order = ranked(logits, view.complete[:, None]).argsort(dim=-1, descending=True)
        share = share_of(logits) if self.weigh == "softmax" else range_of(logits)
        held = share.gather(3, order)
        before = held.cumsum(dim=-1) - held
        mass = self.mass + view.openness * (1 - self.mass)
        place = torch.arange(num_regions, device=logits.device)
        inside = (before < mass - TOLERANCE) | (place < self.min_k) | (self.mass >= 1)
        num_slots = num_regions
        if self.max_k is not None:
            cap = opened(self.max_k, num_regions, view.openness)
            num_slots = int(cap[-1])
            inside = inside & (place < cap.to(place.device)[view.complete.sum(-1)][:, None, :, None])
        chosen = torch.zeros_like(inside).scatter(3, order, inside)
        return selection_of(chosen & view.complete[:, None], num_slots)
