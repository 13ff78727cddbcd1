"""How much of the visual field a training step looks at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from gazekit.contracts import Kind
from gazekit.gaze import Gaze, GazeTrace, watch

_VISUAL = GazeTrace.KINDS.index(Kind.VISUAL)


@dataclass(frozen=True)
class Attended:
    """Means over the routing layers, heads and rows of a step; rows with nothing to see before them are left out.

    Attributes:
        regions: Regions that a row looks at, its K; the mean of branches.
        share: Visual entries that a row attends, over the visual tokens that precede it; the sum of branches, each of
            which attends by itself.
    """

    regions: float
    share: float


@contextmanager
def measure(
    model: nn.Module, batch: Mapping[str, Tensor], wanted: bool
) -> Iterator[Callable[[], Attended | None]]:
    """Watches the forwards inside the block; the callable then says what they attended.

    None where nothing routes, and where nothing is `wanted`: counting takes a few percent of a step.
    """
    if not wanted or not any(
        isinstance(gaze := getattr(module, "gaze", None), Gaze) and gaze.routes for module in model.modules()
    ):
        yield lambda: None
        return
    with watch(model) as trace:
        ids = torch.tensor(_placeholders(model.config))
        yield lambda: attended_of(trace, torch.isin(batch["input_ids"].cpu(), ids))


def _placeholders(config: Any) -> list[int]:
    """Ids of what stands for visual tokens, by the names that configs of transformers have for them."""
    names = ("image_token_id", "video_token_id")
    return [found for name in names if (found := getattr(config, name, None)) is not None]


def attended_of(trace: GazeTrace, visual: Bool[Tensor, "batch token"]) -> Attended | None:
    """Means over a trace; None where no row routed.

    Args:
        trace: What the forwards looked at.
        visual: True = a visual token.
    """
    if not trace.glances or trace.regions is None:
        return None
    preceding = visual.cumsum(dim=1)
    present = (trace.regions.document >= 0).sum(dim=1).cpu()
    chosen = []
    seen: dict[int, float] = defaultdict(float)
    offered: dict[int, float] = defaultdict(float)
    for glance in trace.glances:
        head = glance.attended.shape[1]
        before = preceding.gather(1, glance.position.clamp_min(0))
        rows = (glance.position >= 0) & (before > 0)
        offered[glance.branch] += float(before[rows].double().sum() * head)
        seen[glance.branch] += float(glance.attended[..., _VISUAL].transpose(1, 2)[rows].double().sum())
        if glance.index is None:
            count = present[:, None].expand_as(rows)
        else:
            count = (glance.index >= 0).sum(dim=-1).double().mean(dim=1)
        chosen.append(count[rows].double().mean())
    share = sum(seen[branch] / max(1.0, offered[branch]) for branch in seen)
    return Attended(regions=float(torch.stack(chosen).mean()), share=share)
