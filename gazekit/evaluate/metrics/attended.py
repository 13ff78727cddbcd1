"""How many keys a query's softmax runs over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.evaluate.metrics._samples import SampleMetric, keys_of

_KINDS = ("visual", "context", "text")


class AttendedEntries(SampleMetric):
    """Mean attended entries per query, by kind, over samples, layers, heads and queries.

    The budget of Gaze Attention: visual (and context) entries that a query of a head may attend, over the visual
    tokens that enter a dense LLM. Exact over ranks whatever the shards, where samples are named.

    Args:
        num_layers: Layers to tell apart; 1 = their mean alone.
        num_heads: Query heads to tell apart; 1 = their mean alone.

    Raises:
        ValueError: Either is below 1.

    Example:
        >>> metric = AttendedEntries()
        >>> attended = torch.tensor([[[[[720, 32, 100]]]]])
        >>> metric.update(attended, visual=torch.tensor([4608]), counts=torch.tensor([[True]]))
        >>> round(metric.compute()["share"], 4), round(metric.compute()["share_with_context"], 4)
        (0.1562, 0.1632)
    """

    higher_is_better = False

    def __init__(self, num_layers: int = 1, num_heads: int = 1) -> None:
        for name, value in (("num_layers", num_layers), ("num_heads", num_heads)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}; leave it out for the mean alone")
        table = (num_layers, num_heads, len(_KINDS))
        super().__init__(
            {"entries": (table, torch.float64), "visual": ((), torch.int64), "queries": ((), torch.int64)}
        )
        self.num_layers, self.num_heads = num_layers, num_heads

    def update(
        self,
        attended: Int[Tensor, "sample layer head row 3"],
        visual: Int[Tensor, " sample"],
        counts: Bool[Tensor, "sample row"],
        ids: Sequence[Any] | None = None,
    ) -> None:
        """Adds samples, each whole.

        Args:
            attended: Entries that each row attends: visual, context, text (a trace's `Glance.attended`).
            visual: Visual tokens of each sample, what a dense LLM would attend.
            counts: True = this row counts; rows of samples without visual tokens never do.
            ids: What names the samples; one that was named before is not counted again. None = each counts.

        Raises:
            ValueError: There are not as many layers or heads as are told apart.
        """
        counts = counts & (visual > 0)[:, None]
        entries = (attended * counts[:, None, None, :, None]).sum(3).to(torch.float64)
        for axis, (name, told) in enumerate(
            (("layers", self.num_layers), ("heads", self.num_heads)), start=1
        ):
            if told == 1:
                entries = entries.mean(axis, keepdim=True)
            elif entries.shape[axis] != told:
                raise ValueError(f"attended must have {told} {name}, got {entries.shape[axis]}")
        self.add(keys_of(ids, len(visual)), entries=entries, visual=visual, queries=counts.sum(1))

    def compute(self) -> dict[str, Any]:
        """Means by kind, and the share of the visual tokens without and with context tokens; NaN if nothing counted.

        `per_head` `[layer head kind]` holds the means apart, as far as they are told apart.
        """
        rows = self.rows()
        asked = rows["queries"] > 0
        entries, visual = rows["entries"][asked], rows["visual"][asked].to(torch.float64)
        queries = rows["queries"].sum().to(torch.float64)
        per_head = entries.sum(0) / queries
        shares = (entries.mean((1, 2)) / visual[:, None]).sum(0) / queries
        means: dict[str, Any] = dict(zip(_KINDS, per_head.mean((0, 1)).tolist(), strict=True))
        return means | {
            "share": float(shares[0]),
            "share_with_context": float(shares[0] + shares[1]),
            "per_head": per_head,
        }
