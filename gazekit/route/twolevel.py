"""Coarse regions first, fine ones within them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts import Partitioner, Regions, Router, Selection, View, complete_regions, to_heads
from gazekit.route._select import (
    Pool,
    Share,
    check_count,
    check_share,
    heads_of,
    joined,
    keep_highest,
    needed,
    rank_of,
    selection_of,
    shared,
)

Summary = Literal["mean", "max"]


@dataclass(frozen=True, kw_only=True)
class TwoLevelRouter:
    """Chooses `coarse_k` coarse regions, then lets another router choose among the regions inside them.

    A coarse region's score is made of those of the regions inside it, so nothing is described twice; a query
    concentrates on a few places and is exact there (video: shots, then cells). A coarse region is a
    candidate when it is complete for the row. Regions that are complete inside one that is still open, or that
    lie in none, stay candidates of the inner router in any case.

    While the schedule's openness is above 0, `ceil(openness * other complete regions)` of the best others are added
    to what is chosen at the target, wherever they lie.

    Args:
        coarse: Divides the prompt into the coarse regions; must not cut the regions of the composition.
        coarse_k: Coarse regions that a row goes into, at least 1.
        inner: Chooses among the regions inside, by their scores.
        summary: A coarse region's score: the "mean" of those inside it, weighted by their tokens, or the "max".
        share: Who chooses coarse regions together, as for `TopKRouter`; give the inner router the same.
        pool: What the scores of heads that choose together are pooled by, "mean" or "max".

    Raises:
        ValueError: `coarse_k` is below 1, or `summary`, `share` or `pool` is unknown.
    """

    coarse: Partitioner
    coarse_k: int
    inner: Router
    summary: Summary = "mean"
    share: Share = "head"
    pool: Pool = "mean"

    def __post_init__(self) -> None:
        check_count("coarse_k", self.coarse_k)
        check_share(self.share, self.pool)
        if self.summary not in get_args(Summary):
            raise ValueError(f'summary must be "mean" or "max" of the scores inside, got {self.summary!r}')

    def __call__(self, scores: Float[Tensor, "batch head row region"] | None, view: View) -> Selection | None:
        """The inner router's regions within the chosen coarse ones; None at openness 1.

        Raises:
            ValueError: There are no scores, or a region reaches into two coarse ones.
        """
        scores = needed(scores, "TwoLevelRouter")
        if view.openness >= 1:
            return None
        within = self._within(shared(scores, heads_of(self.share, view), self.pool), view)
        target = replace(view, openness=0.0, complete=view.complete & within.any(dim=1))
        candidate = to_heads(within, view.num_heads)
        chosen = self.inner(scores.masked_fill(~candidate, -torch.inf), target)
        selection = _confined(chosen, within & view.complete[:, None], view)
        return selection if view.openness == 0 else _opened(selection, scores, view)

    def _within(
        self, scores: Float[Tensor, "batch #head row region"], view: View
    ) -> Bool[Tensor, "batch #head row region"]:
        """True = the inner router may choose this region, where it is complete."""
        coarse = view.divide(self.coarse)
        parent = _parents(view.regions, coarse)
        complete = complete_regions(view.rows, coarse)
        total = self._summarise(scores, parent, coarse, view)
        table = keep_highest(rank_of(total), complete[:, None], self.coarse_k, 0.0).chosen(coarse.count)
        table = torch.nn.functional.pad(table | ~complete[:, None], (0, 1), value=True)
        index = torch.where(parent >= 0, parent, coarse.count)[:, None, None]
        return table.gather(3, index.expand(-1, table.shape[1], table.shape[2], -1))

    def _summarise(
        self,
        scores: Float[Tensor, "batch #head row region"],
        parent: Int[Tensor, "batch region"],
        coarse: Regions,
        view: View,
    ) -> Float[Tensor, "batch #head row coarse"]:
        """Scores of the coarse regions, from those of the complete regions inside them."""
        inside = view.complete & (parent >= 0)[:, None]
        slot = torch.where(parent >= 0, parent, coarse.count)[:, None, None].expand(scores.shape)
        shape = (*scores.shape[:3], coarse.count + 1)
        if self.summary == "max":
            values = scores.masked_fill(~inside[:, None], -torch.inf)
            return scores.new_full(shape, -torch.inf).scatter_reduce(3, slot, values, "amax")[..., :-1]
        size = (view.regions.size[:, None] * inside)[:, None].to(scores.dtype)
        weighed = scores.masked_fill(~inside[:, None], 0) * size
        total = scores.new_zeros(shape).scatter_add(3, slot, weighed)
        weight = scores.new_zeros(shape).scatter_add(3, slot, size.expand(scores.shape))
        return (total / weight).masked_fill(weight == 0, -torch.inf)[..., :-1]


def _parents(regions: Regions, coarse: Regions) -> Int[Tensor, "batch region"]:
    """The coarse region around each region, -1 = none.

    Raises:
        ValueError: A region has members in two of them, or in one and outside all.
    """
    count = regions.count
    slot = torch.where(regions.owner >= 0, regions.owner, count)
    blank = torch.full((slot.shape[0], count + 1), -1, dtype=torch.int64, device=slot.device)
    highest = blank.scatter_reduce(1, slot, coarse.owner, "amax", include_self=False)[:, :count]
    lowest = blank.scatter_reduce(1, slot, coarse.owner, "amin", include_self=False)[:, :count]
    if bool((highest != lowest).any()):
        raise ValueError(
            "coarse must not cut regions of the composition's partition, but one has tokens in several coarse "
            "regions; let its sides be multiples of theirs"
        )
    return highest


def _confined(
    chosen: Selection | None, inside: Bool[Tensor, "batch #head row region"], view: View
) -> Selection:
    """What was chosen (None = all) of the regions inside; the head axis is the longer one of the two."""
    if chosen is None:
        return selection_of(inside, view.regions.count)
    table = chosen.chosen(view.regions.count)
    heads = max(table.shape[1], inside.shape[1])
    return selection_of(to_heads(table, heads) & to_heads(inside, heads), chosen.index.shape[3])


def _opened(selection: Selection, scores: Float[Tensor, "batch head row region"], view: View) -> Selection:
    """The selection and `ceil(openness * the others)` of the best other complete regions."""
    already = selection.chosen(view.regions.count)
    rank = rank_of(shared(scores, already.shape[1], "mean"))
    others = keep_highest(rank, view.complete[:, None] & ~already, 0, view.openness)
    return joined(selection, others, view.regions.count)
