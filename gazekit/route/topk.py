"""The K regions that match best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts import Regions, Selection, View
from gazekit.kernels import native, triton
from gazekit.route._select import (
    Pool,
    Share,
    check_count,
    check_share,
    heads_of,
    keep_highest,
    lowered,
    needed,
    opened,
    rank_of,
    selection_of,
    shared,
)

Per = Literal["all", "unit"]


@dataclass(frozen=True, kw_only=True)
class TopKRouter:
    """Looks at the `k` complete regions with the highest scores: the paper's routing.

    While the schedule's openness is above 0 a row keeps `k + ceil(openness * (its complete regions - k))`.
    Where fewer regions are complete it looks at all of them; equal scores go to the lower id. On a CUDA GPU with
    Triton one kernel does it at openness 0, with the same result.

    Args:
        k: Regions that a row looks at, at least 1.
        share: "head": each query head chooses for itself (the paper). "group": the query heads of a KV head
            choose together, so that decoding reads fewer bytes. "layer": all heads choose together.
        pool: What the scores of heads that choose together are pooled by, "mean" or "max".
        per: "all": the best `k` among all units. "unit": the best `k` of every image or frame, so that none is
            overlooked and the number grows with the video; regions count to the unit that they begin in, those with
            text in them to none, which has its `k` too.

    Raises:
        ValueError: `k` is below 1, or `share`, `pool` or `per` is unknown.
    """

    k: int
    share: Share = "head"
    pool: Pool = "mean"
    per: Per = "all"

    def __post_init__(self) -> None:
        check_count("k", self.k)
        check_share(self.share, self.pool)
        if self.per not in get_args(Per):
            raise ValueError(f'per must be "all" or "unit" (each image or frame), got {self.per!r}')

    def __call__(self, scores: Float[Tensor, "batch head row region"] | None, view: View) -> Selection | None:
        """The best regions of each row; None at openness 1.

        Raises:
            ValueError: There are no scores, since the composition has no pooler.
        """
        scores = needed(scores, "TopKRouter")
        if view.openness >= 1:
            return None
        pooled = shared(scores, heads_of(self.share, view), self.pool)
        narrow = self.per == "all" and pooled.dtype == torch.float32
        if narrow and native.serves(pooled, view.complete):
            return Selection(native.select(pooled, view.complete, self.k, view.openness))
        if narrow and view.openness == 0 and triton.serves(pooled, view.complete):
            return Selection(triton.select(pooled, view.complete, self.k))
        rank = rank_of(pooled)
        if self.per == "all":
            return keep_highest(rank, view.complete[:, None], self.k, view.openness)
        return _keep_highest_of_units(rank, view.complete, view.regions, self.k, view.openness)


def _keep_highest_of_units(
    rank: Int[Tensor, "batch #head row region"],
    complete: Bool[Tensor, "batch row region"],
    regions: Regions,
    k: int,
    openness: float,
) -> Selection:
    """What `keep_highest` keeps of each unit's regions."""
    num_regions = rank.shape[-1]
    keep = opened(k, num_regions, openness).to(rank.device)
    # Column 0 stands for regions of no unit; incomplete regions come after all others of their unit.
    unit = (regions.unit + 1)[:, None].expand(complete.shape)
    num_units = int(regions.unit.max()) + 2 if regions.unit.numel() else 1
    counts = torch.zeros(*complete.shape[:2], num_units, dtype=torch.int64, device=rank.device)
    of_unit = keep[counts.scatter_add(2, unit, complete.long()).gather(2, unit)]
    best = lowered(rank, complete[:, None]).argsort(dim=-1, descending=True)
    units = unit[:, None].expand(rank.shape).gather(3, best)
    grouped = units.argsort(dim=-1, stable=True)
    units, best = units.gather(3, grouped), best.gather(3, grouped)
    step = torch.arange(num_regions, device=rank.device).expand(rank.shape)
    begins = torch.ones_like(units, dtype=torch.bool)
    begins[..., 1:] = units[..., 1:] != units[..., :-1]
    within = step - torch.where(begins, step, 0).cummax(dim=-1).values
    place = torch.empty_like(within).scatter(3, best, within)
    chosen = (place < of_unit[:, None]) & complete[:, None]
    sizes = torch.zeros(rank.shape[0], num_units, dtype=torch.int64, device=rank.device)
    sizes = sizes.scatter_add(1, regions.unit + 1, (regions.size > 0).long())
    return selection_of(chosen, int(keep[sizes].sum(-1).amax()) if sizes.numel() else 0)
