"""How choices spread and how long they last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.evaluate.metrics._samples import SampleMetric, keys_of


def chosen_regions(
    index: Int[Tensor, "*batch slot"], num_regions: int
) -> Bool[Tensor, "*batch {num_regions}"]:
    """True = the region was chosen; -1 in `index` is no region."""
    flags = torch.zeros(*index.shape[:-1], num_regions + 1, dtype=torch.bool, device=index.device)
    return flags.scatter(-1, torch.where(index >= 0, index, num_regions).long(), True)[..., :num_regions]


def selection_entropy(
    index: Int[Tensor, "step layer head slot"], num_regions: int
) -> Float[Tensor, "layer head"]:
    """Entropy of how often each region is chosen over the steps, over its highest value `log(num_regions)`.

    0 = always the same single region, 1 = all alike; NaN where nothing was chosen. One region has no choice: 0.
    """
    often = chosen_regions(index, num_regions).sum(0).to(torch.float64)
    share = often / often.sum(-1, keepdim=True)
    entropy = torch.special.entr(share).sum(-1)
    return entropy / max(torch.log(torch.tensor(float(num_regions))).item(), 1e-12)


def step_overlap(index: Int[Tensor, "step layer head slot"], num_regions: int) -> Float[Tensor, "layer head"]:
    """Jaccard overlap of each step's choice with the one before, averaged over steps; NaN with one step."""
    chosen = chosen_regions(index, num_regions)
    return jaccard(chosen[1:], chosen[:-1]).nanmean(0)


def head_overlap(
    index: Int[Tensor, "step layer head slot"], num_regions: int, group: int | None = None
) -> Float[Tensor, " layer"]:
    """Jaccard overlap of the choices of two heads, averaged over pairs and steps; NaN with one head.

    Args:
        index: Chosen regions, -1 = empty.
        num_regions: Regions there are.
        group: Heads that share keys: only pairs among them count; None = all heads.

    Raises:
        ValueError: Heads do not divide into such groups.
    """
    heads = index.shape[2]
    group = heads if group is None else group
    if group < 1 or heads % group:
        raise ValueError(f"group must divide the {heads} heads, got {group}")
    chosen = chosen_regions(index, num_regions).unflatten(2, (-1, group))
    one, other = torch.triu_indices(group, group, offset=1)
    return (
        jaccard(chosen[:, :, :, one], chosen[:, :, :, other]).flatten(2).transpose(0, 1).flatten(1).nanmean(1)
    )


def jaccard(
    one: Bool[Tensor, "*batch region"], other: Bool[Tensor, "*batch region"]
) -> Float[Tensor, "*batch"]:
    """Common regions over all that either holds; NaN where neither holds any."""
    both = (one & other).sum(-1).to(torch.float64)
    return both / (one | other).sum(-1)


class SelectionStatistics(SampleMetric):
    """Entropy of the choices over the regions, their overlap from step to step, and between heads.

    Means over samples, each of which counts alike; what a sample cannot say (one step, one head) is left out.

    Args:
        num_layers: Layers that route.
        num_heads: Query heads.
        group: Heads that share keys, for `group_overlap`.
    """

    higher_is_better = None

    def __init__(self, num_layers: int, num_heads: int, group: int = 1) -> None:
        table = (num_layers, num_heads)
        super().__init__(
            {
                "entropy": (table, torch.float64),
                "step": (table, torch.float64),
                "head": ((num_layers,), torch.float64),
                "shared": ((num_layers,), torch.float64),
            }
        )
        self.group = group

    def update(
        self,
        index: Int[Tensor, "sample step layer head slot"],
        num_regions: Sequence[int],
        ids: Sequence[Any] | None = None,
    ) -> None:
        """Adds samples, each whole.

        Args:
            index: Regions chosen at each step, -1 = empty; steps that were not taken are empty throughout.
            num_regions: Regions of each sample.
            ids: What names the samples; one that was named before is not counted again.
        """
        found: dict[str, list[Tensor]] = {"entropy": [], "step": [], "head": [], "shared": []}
        for one, regions in zip(index, num_regions, strict=True):
            taken = one[(one >= 0).flatten(1).any(1)]
            found["entropy"].append(selection_entropy(taken, regions))
            found["step"].append(step_overlap(taken, regions))
            found["head"].append(head_overlap(taken, regions))
            found["shared"].append(head_overlap(taken, regions, self.group))
        if found["entropy"]:
            self.add(
                keys_of(ids, len(num_regions)),
                **{name: torch.stack(values) for name, values in found.items()},
            )

    def compute(self) -> dict[str, Tensor]:
        """`entropy` and `step_overlap` `[layer head]`, `head_overlap` and `group_overlap` `[layer]`, NaN = unknown."""
        rows = self.rows()
        names = {
            "entropy": "entropy",
            "step_overlap": "step",
            "head_overlap": "head",
            "group_overlap": "shared",
        }
        return {name: rows[column].nanmean(0) for name, column in names.items()}
