"""How much of the visual field a training step looks at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
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
        ids = torch.tensor(placeholders(model.config))
        documents = batch.get("document_ids")
        yield lambda: attended_of(
            trace,
            torch.isin(batch["input_ids"].cpu(), ids),
            None if documents is None else documents.cpu(),
        )


def placeholders(config: Any) -> list[int]:
    """Ids of what stands for visual tokens, by the names that configs of transformers have for them."""
    names = ("image_token_id", "video_token_id")
    return [found for name in names if (found := getattr(config, name, None)) is not None]


def attended_of(
    trace: GazeTrace,
    visual: Bool[Tensor, "batch token"],
    document: Int[Tensor, "batch token"] | None = None,
) -> Attended | None:
    """Means over a trace; None where no row routed.

    Args:
        trace: What the forwards looked at.
        visual: True = a visual token.
        document: The packed document of each token; None = one document a row.
    """
    if not trace.glances or trace.regions is None:
        return None
    document = torch.zeros_like(visual, dtype=torch.int64) if document is None else document
    preceding = so_far(visual, document)
    regions = trace.regions.document.cpu()
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
            own = document.gather(1, glance.position.clamp_min(0))
            count = (regions[:, None] == own[:, :, None]).sum(dim=2)
        else:
            count = (glance.index >= 0).sum(dim=-1).double().mean(dim=1)
        chosen.append(count[rows].double().mean())
    share = sum(seen[branch] / max(1.0, offered[branch]) for branch in seen)
    return Attended(regions=float(torch.stack(chosen).mean()), share=share)


def so_far(
    visual: Bool[Tensor, "batch token"], document: Int[Tensor, "batch token"]
) -> Int[Tensor, "batch token"]:
    """Visual tokens up to each token, in its own document.

    Args:
        visual: True = to be counted.
        document: The packed document of each token.
    """
    count = visual.long().cumsum(dim=1)
    begins = torch.nn.functional.pad(document[:, 1:] != document[:, :-1], (1, 0), value=True)
    before = (count - visual.long()).masked_fill(~begins, 0).cummax(dim=1).values
    return count - before
