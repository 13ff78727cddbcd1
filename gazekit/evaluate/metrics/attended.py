"""How many keys a query's softmax runs over."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torchmetrics import Metric

_KINDS = ("visual", "context", "text")


class AttendedEntries(Metric):
    """Mean attended entries per query, by kind, over samples, layers, heads and queries.

    The budget of Gaze Attention: visual (and context) entries that a query of a head may attend, over the visual
    tokens that enter a dense LLM.

    Example:
        >>> metric = AttendedEntries()
        >>> attended = torch.tensor([[[[720, 32, 100]]]])
        >>> metric.update(attended, visual=torch.tensor([4608]), counts=torch.tensor([[True]]))
        >>> round(metric.compute()["share"], 4), round(metric.compute()["share_with_context"], 4)
        (0.1562, 0.1632)
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("entries", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("shares", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("queries", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        attended: Int[Tensor, "batch head row 3"],
        visual: Int[Tensor, " batch"],
        counts: Bool[Tensor, "batch row"],
    ) -> None:
        """Adds the queries of one layer.

        Args:
            attended: Entries that each row attends: visual, context, text (a trace's `Glance.attended`).
            visual: Visual tokens of each sample, what a dense LLM would attend.
            counts: True = this row counts; rows of samples without visual tokens never do.
        """
        counts = counts & (visual > 0)[:, None]
        heads = attended.shape[1]
        rows = attended.transpose(1, 2)[counts].to(torch.float64)
        dense = visual[:, None].expand_as(counts)[counts].to(torch.float64)[:, None]
        self.entries += rows.sum((0, 1))
        self.shares += torch.stack([(rows[..., 0] / dense).sum(), (rows[..., :2].sum(-1) / dense).sum()])
        self.queries += rows.shape[0] * heads

    def compute(self) -> dict[str, float]:
        """Means by kind, and the share of the visual tokens without and with context tokens; NaN if nothing counted."""
        queries = self.queries.to(torch.float64)
        means = {kind: float(total / queries) for kind, total in zip(_KINDS, self.entries, strict=True)}
        return means | {
            "share": float(self.shares[0] / queries),
            "share_with_context": float(self.shares[1] / queries),
        }
