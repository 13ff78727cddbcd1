"""What was looked at: per layer, head and query, recorded while generating."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gazekit.contracts import Entries, Kind, Plan, Regions, visible

_MASK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Glance:
    """What the rows of one forward looked at in one layer.

    Attributes:
        layer: Index of the decoder layer.
        position: Sequence index of the query of each row, padding on the left included; -1 = no such row.
        index: Chosen regions, ascending, -1 = empty; None = dense.
        attended: Entries that each row's softmax runs over, by kind: visual, context (summaries too), text.
        branch: Which of the composition's branches looked; 0 where it has none.
        mass: Share of each row's attention, were it dense, that falls on each region that could be chosen; None
            where it was not asked for, or nothing was chosen.
    """

    layer: int
    position: Int[Tensor, "batch row"]
    index: Int[Tensor, "batch head row slot"] | None
    attended: Int[Tensor, "batch head row kind"]
    branch: int = 0
    mass: Float[Tensor, "batch head row region"] | None = None


@dataclass
class GazeTrace:
    """The glances of one or more forwards over the same prompts, in order.

    Attributes:
        glances: One for each layer of each forward.
        regions: The division that the latest glances speak of (regions are only ever added).
        weighs: Whether dense attention is computed beside, for the glances' `mass`.
        backends: Classes of the backends that attended.
    """

    glances: list[Glance] = field(default_factory=list)
    regions: Regions | None = None
    weighs: bool = False
    backends: set[str] = field(default_factory=set)

    KINDS = (Kind.VISUAL, Kind.CONTEXT, Kind.TEXT)

    def record(
        self,
        layer: int,
        start: int,
        plan: Plan,
        entries: Entries,
        num_heads: int,
        branch: int = 0,
        mass: Float[Tensor, "batch head row region"] | None = None,
    ) -> None:
        """Adds what one layer, or a branch of it, looks at; `start` is the sequence index of the first query."""
        if plan.rows.count == 0:
            return
        query = plan.rows.query
        of = torch.where(query >= 0, torch.arange(plan.rows.count, device=query.device), -1)
        rows = replace(plan, query=plan.query.take(query[:, None]), rows=replace(plan.rows, of=of))
        selection = plan.selection
        self.regions = plan.regions
        self.glances.append(
            Glance(
                layer=layer,
                position=torch.where(query >= 0, query + start, -1).cpu(),
                index=None if selection is None else selection.per_head(num_heads).cpu(),
                attended=_attended(rows, entries, num_heads).cpu(),
                branch=branch,
                mass=None if mass is None else mass.cpu(),
            )
        )

    @property
    def layers(self) -> list[int]:
        """The layers that were recorded, ascending."""
        return sorted({glance.layer for glance in self.glances})


def _attended(plan: Plan, entries: Entries, num_heads: int) -> Int[Tensor, "batch head row kind"]:
    """Counts the visible entries of each kind, a chunk of rows at a time."""
    batch, length = plan.query.kind.shape[0], entries.key.shape[2]
    step = max(1, _MASK_BYTES // max(1, batch * num_heads * length))
    counts = []
    for start in range(0, plan.query.length, step):
        some = plan.narrow(start, start + step)
        seen = visible(some, entries.tokens, num_heads).expand(-1, num_heads, -1, -1)
        kind = entries.tokens.kind
        kind = kind.repeat_interleave(num_heads // kind.shape[1], dim=1)[:, :, None, :]
        counts.append(torch.stack([(seen & (kind == which)).sum(-1) for which in GazeTrace.KINDS], -1))
    return torch.cat(counts, dim=2)


@contextmanager
def watch(model: nn.Module, *, weigh: bool = False) -> Iterator[GazeTrace]:
    """Records what a model looks at inside the block.

    Args:
        model: One that has gaze.
        weigh: Compute dense attention beside, and record how much of it falls on each region (`Glance.mass`); as
            costly as dense attention is.

    Example:
        >>> with watch(model) as trace:
        ...     model.generate(**inputs, max_new_tokens=8)

    Raises:
        ValueError: The model has no gaze.
    """
    watched = [module for module in model.modules() if "gaze_trace" in module.__dict__]
    if not watched:
        raise ValueError(
            "model must have gaze to be watched; install it with gazekit.gaze.install(text_model, gaze)"
        )
    trace = GazeTrace(weighs=weigh)
    for module in watched:
        module.__dict__["gaze_trace"] = trace
    try:
        yield trace
    finally:
        for module in watched:
            module.__dict__["gaze_trace"] = None
