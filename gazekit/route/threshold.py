"""All regions that match well enough."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Selection, View
from gazekit.route._mass import TOLERANCE, logits_of, share_of
from gazekit.route._select import (
    Pool,
    Share,
    check_count,
    check_share,
    heads_of,
    needed,
    ranked,
    selection_of,
    shared,
)


@dataclass(frozen=True, kw_only=True)
class ThresholdRouter:
    """Looks at every complete region that holds at least `threshold` of the softmax over the scaled scores.

    One comparison a region and no order among them: SeerAttention's inference. While the schedule's openness is
    above 0 the threshold falls with it, to `threshold * (1 - openness)`.

    Args:
        threshold: Share of the softmax that a region must hold, in (0, 1). The more regions, the smaller the
            share of each: 0.05 is strict for a hundred.
        min_k: The best regions that are kept whatever they hold, where so many are complete.
        share: Who chooses together, as for `TopKRouter`.
        pool: What the scores of heads that choose together are pooled by, "mean" or "max".
        by_size: Weighs each region by its tokens, adding `log(size)` to its logit.

    Raises:
        ValueError: `threshold` is outside (0, 1), `min_k` is below 0, or `share` or `pool` is unknown.
    """

    threshold: float
    min_k: int = 1
    share: Share = "head"
    pool: Pool = "mean"
    by_size: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(
                f"threshold must lie in (0, 1), got {self.threshold}; it is a share of the softmax"
            )
        check_count("min_k", self.min_k, 0)
        check_share(self.share, self.pool)

    def __call__(self, scores: Float[Tensor, "batch head row region"] | None, view: View) -> Selection | None:
        """The regions above the threshold; None at openness 1.

        Raises:
            ValueError: There are no scores, since the composition has no pooler.
        """
        scores = needed(scores, "ThresholdRouter")
        if view.openness >= 1:
            return None
        logits = logits_of(shared(scores, heads_of(self.share, view), self.pool), view, self.by_size)
        chosen = share_of(logits) >= self.threshold * (1 - view.openness) * (1 - TOLERANCE)
        num_regions = logits.shape[-1]
        best = ranked(logits, view.complete[:, None]).topk(min(self.min_k, num_regions), dim=-1).indices
        chosen = chosen.scatter(3, best, torch.ones_like(best, dtype=torch.bool))
        return selection_of(chosen & view.complete[:, None], num_regions)
