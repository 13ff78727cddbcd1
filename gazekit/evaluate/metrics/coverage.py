"""Does routing choose what attention would have looked at?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.evaluate.metrics._samples import SampleMetric, keys_of


def mass_of(
    mass: Float[Tensor, "*batch region"], index: Int[Tensor, "*batch slot"]
) -> Float[Tensor, "*batch"]:
    """Mass on the chosen regions; -1 in `index` is no region."""
    padded = torch.nn.functional.pad(mass.to(torch.float64), (0, 1))
    return padded.gather(-1, torch.where(index >= 0, index, mass.shape[-1]).long()).sum(-1)


def best_mass(mass: Float[Tensor, "*batch region"], count: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Mass on the `count` regions that have most: the oracle's choice."""
    ranked = mass.to(torch.float64).sort(-1, descending=True).values
    taken = torch.arange(mass.shape[-1], device=mass.device) < count[..., None]
    return (ranked * taken).sum(-1)


class MassCoverage(SampleMetric):
    """Share of the true attention to regions that falls on the chosen ones, beside the best and the random share.

    True attention is that of the same query over everything it may reach (`watch(model, weigh=True)`). `share` is
    means of ratios over the steps; `of_best` is what was covered over what the oracle covers with as many regions.

    Args:
        num_layers: Layers that route.
        num_heads: Query heads.
    """

    higher_is_better = True

    def __init__(self, num_layers: int, num_heads: int) -> None:
        table = (num_layers, num_heads)
        names = ("share", "best", "random")
        super().__init__(dict.fromkeys(names, (table, torch.float64)) | {"steps": ((), torch.int64)})

    def update(
        self,
        mass: Float[Tensor, "sample step layer head region"],
        index: Int[Tensor, "sample step layer head slot"],
        num_regions: Int[Tensor, " sample"],
        ids: Sequence[Any] | None = None,
    ) -> None:
        """Adds samples, each whole; steps on which no head chose anything do not count.

        Args:
            mass: Attention on each region, were it dense.
            index: Regions chosen, -1 = empty.
            num_regions: Regions that could be chosen.
            ids: What names the samples; one that was named before is not counted again.
        """
        taken = (index >= 0).flatten(2).any(2)
        count = (index >= 0).sum(-1)
        total = mass.to(torch.float64).sum(-1).clamp_min(1e-300)
        regions = num_regions[:, None, None, None].clamp_min(1)
        shares = {
            "share": mass_of(mass, index) / total,
            "best": best_mass(mass, count) / total,
            "random": (count / regions).to(torch.float64),
        }
        where = taken[:, :, None, None]
        self.add(
            keys_of(ids, len(num_regions)),
            steps=taken.sum(1),
            **{name: value.masked_fill(~where, 0.0).sum(1) for name, value in shares.items()},
        )

    def compute(self) -> dict[str, Tensor]:
        """`share`, `best`, `random` and `of_best`, each `[layer head]`, over all steps; NaN without steps."""
        rows = self.rows()
        steps = rows["steps"].sum().to(torch.float64)
        shares = {name: rows[name].sum(0) / steps for name in ("share", "best", "random")}
        return shares | {"of_best": shares["share"] / shares["best"]}
