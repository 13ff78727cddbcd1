"""Regions that are looked at in any case."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gazekit.contracts import Router, Selection, View
from gazekit.route._select import check_count, joined, keep_highest, selection_of


@dataclass(frozen=True, kw_only=True)
class AlwaysRouter:
    """Looks at a row's own, the first or the latest regions, and at what another router chooses among the rest.

    With own blocks it is MoBA's routing, with first and latest ones NSA's or BigBird's; without an inner router a
    sliding window with sinks. The inner router does not see the regions that are on in any case, so `k` of a
    `TopKRouter` counts beyond them.

    Args:
        inner: Chooses among the other regions; None = nothing more. While openness is above 0 it opens as it
            always does; where there is none, `ceil(openness * other regions)` of the latest others are added.
        own: Whether a row looks at the region that it is a member of (while that is open it does so anyway).
        first: Complete regions at the beginning of the row's document.
        latest: Complete regions that began last before the row, such as the cells of the latest frame; besides the
            own one where `own` is on.

    Raises:
        ValueError: `first` or `latest` is below 0, or nothing is always on.
    """

    inner: Router | None = None
    own: bool = True
    first: int = 0
    latest: int = 0

    def __post_init__(self) -> None:
        check_count("first", self.first, 0)
        check_count("latest", self.latest, 0)
        if not (self.own or self.first or self.latest):
            raise ValueError(
                "AlwaysRouter must have something always on, got own=False, first=0, latest=0; "
                "use the inner router alone"
            )

    def __call__(self, scores: Float[Tensor, "batch head row region"] | None, view: View) -> Selection | None:
        """The regions that are always on and the inner router's; None at openness 1."""
        if view.openness >= 1:
            return None
        always = self._always(view)
        rest = view.complete & ~always
        if self.inner is None:
            latest = view.regions.ordinal[:, None, None].expand(-1, 1, view.rows.count, -1)
            chosen: Selection | None = keep_highest(latest, rest[:, None], 0, view.openness)
        else:
            chosen = self.inner(scores, replace(view, complete=rest))
        if chosen is None:
            return None
        fixed = selection_of(always[:, None], int(self.own) + self.first + self.latest)
        return joined(fixed, chosen, view.regions.count)

    def _always(self, view: View) -> Bool[Tensor, "batch row region"]:
        ids = torch.arange(view.regions.count, device=view.complete.device)
        ordinal = view.regions.ordinal[:, None]
        always = torch.zeros_like(view.complete)
        if self.own:
            always |= view.rows.owner[..., None] == ids
        if self.first:
            always |= ordinal < self.first
        if self.latest and view.regions.count:
            # The own region is none of them, whether it is complete for this row or still open.
            others = view.complete & (view.rows.owner[..., None] != ids) if self.own else view.complete
            began = ordinal.expand(view.complete.shape).masked_fill(~others, -1)
            always |= ordinal >= began.topk(min(self.latest, began.shape[-1]), dim=-1).values[..., -1:]
        return always & view.complete
