"""How much of what is looked at was looked at before: what a buffer of regions can save."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.contracts import Selection
from gazekit.gaze.trace import GazeTrace
from gazekit.store import Table, union


@dataclass(frozen=True, kw_only=True)
class Locality:
    """Figures of selections in one layer, over all steps, samples and heads; NaN where there was nothing to count.

    Attributes:
        steps: Share of a head's regions that it had chosen the step before.
        group: Share of the regions of a KV head that all of its query heads chose: 1 = they agree.
        union: Regions that the query heads of a KV head chose together, as a multiple of what one chose.
        hits: By buffer size, as a multiple of what one head looks at: the share of regions that a buffer of the latest
            ones for each KV head would have had at hand, its first filling counted as missed.
    """

    steps: float
    group: float
    union: float
    hits: dict[float, float]


def locality(
    steps: Sequence[Int[Tensor, "batch head slot"]],
    num_kv_heads: int,
    slots: Sequence[float] = (1.0, 1.5, 2.0, 3.0),
) -> Locality:
    """Measures what is looked at, step by step, in one layer.

    Args:
        steps: The regions that each head looked at in each step, -1 = none.
        num_kv_heads: KV heads; query heads that share one lie side by side.
        slots: Buffer sizes, as multiples of the slots of a selection.

    Raises:
        ValueError: There are no steps.

    Example:
        >>> same = torch.tensor([[[0, 1], [1, 2]]])
        >>> found = locality([same, same], num_kv_heads=1, slots=(1.5,))
        >>> found.steps, round(found.group, 2), found.union, found.hits
        (1.0, 0.33, 1.5, {1.5: 0.5})
    """
    if not steps:
        raise ValueError(
            "steps must hold at least one step, got none; record what a model generates with watch()"
        )
    num_regions = 1 + max(int(one.max()) if one.numel() else 0 for one in steps)
    chosen = [Selection(one[:, :, None]).chosen(num_regions)[:, :, 0] for one in steps]
    groups = [one.unflatten(1, (num_kv_heads, -1)) for one in chosen]
    again = [(before & now, now) for before, now in pairwise(chosen)]
    together, alone = _counts([one.any(2) for one in groups]), _counts(chosen)
    heads = chosen[0].shape[1] / num_kv_heads
    return Locality(
        steps=_ratio(_counts([both for both, _ in again]), _counts([now for _, now in again])),
        group=_ratio(_counts([one.all(2) for one in groups]), together),
        union=_ratio(together * heads, alone),
        hits={size: _hit_rate(steps, num_kv_heads, num_regions, size) for size in slots},
    )


def localities(trace: GazeTrace, num_kv_heads: int) -> dict[int, Locality]:
    """Of a trace, the locality of decoding in each layer that routed."""
    found: dict[int, list[Tensor]] = {}
    for glance in trace.glances:
        if glance.index is not None and glance.index.shape[2] == 1:
            found.setdefault(glance.layer, []).append(glance.index[:, :, 0])
    return {layer: locality(steps, num_kv_heads) for layer, steps in sorted(found.items())}


def _hit_rate(steps: Sequence[Tensor], num_kv_heads: int, num_regions: int, slots: float) -> float:
    """Of a buffer of so many slots."""
    batch, _, width = steps[0].shape
    capacity = min(num_regions, math.ceil(slots * width))
    table = Table.empty(batch, num_kv_heads, num_regions, max(1, capacity), steps[0].device)
    wanted = missed = 0
    for one in steps:
        want = union(Selection(one[:, :, None]), num_kv_heads, num_regions)
        missed += int(table.touch(want).missed.sum())
        wanted += int((want >= 0).sum())
    return _ratio(wanted - missed, wanted)


def _counts(tables: Sequence[Bool[Tensor, "..."]]) -> int:
    return sum(int(one.sum()) for one in tables)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
