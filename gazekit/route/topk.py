"""The K regions that match best."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Selection, View
from gazekit.route._select import Share, check, keep_highest, mean_of_groups, rank_of


@dataclass(frozen=True, kw_only=True)
class TopKRouter:
    """Looks at the `k` complete regions with the highest scores: the paper's routing.

    While the schedule's openness is above 0 a row keeps `k + ceil(openness * (its complete regions - k))`.
    Where fewer regions are complete it looks at all of them; equal scores go to the lower id.

    Args:
        k: Regions that a row looks at, at least 1.
        share: "head": each query head chooses for itself (the paper). "group": the query heads of a KV head
            choose together by the mean of their scores, so that decoding reads fewer bytes.

    Raises:
        ValueError: `k` is below 1 or `share` is unknown.
    """

    k: int
    share: Share = "head"

    def __post_init__(self) -> None:
        check(self.k, self.share)

    def __call__(self, scores: Float[Tensor, "batch head row region"] | None, view: View) -> Selection | None:
        """The best regions of each row; None at openness 1.

        Raises:
            ValueError: There are no scores, since the composition has no pooler.
        """
        if scores is None:
            raise ValueError("TopKRouter needs scores, got none; set pool, for example MeanPooler()")
        if view.openness >= 1:
            return None
        if self.share == "group":
            scores = mean_of_groups(scores, view.num_kv_heads)
        return keep_highest(rank_of(scores), view.complete, self.k, view.openness)
