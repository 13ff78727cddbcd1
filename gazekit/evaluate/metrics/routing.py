"""Does the model look where the answer is?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.evaluate.metrics._samples import SampleMetric, keys_of


def overlapping_regions(
    mask: Bool[Tensor, "token height width"],
    box: Int[Tensor, "token region 3 2"],
    grid: tuple[int, int],
    min_share: float = 0.0,
) -> Bool[Tensor, "token region"]:
    """Which regions overlap the mask of what a token describes.

    Args:
        mask: True = a pixel of what the token describes.
        box: Half-open ranges of each region along (t, y, x), in tokens (`Regions.box`), of an image.
        grid: Rows and columns of visual tokens over the image.
        min_share: Share of the mask that a region must hold to count; 0 = any pixel.

    Raises:
        ValueError: `min_share` is not in [0, 1], or the mask has fewer pixels than the grid has cells.
    """
    if not 0.0 <= min_share <= 1.0:
        raise ValueError(f"min_share must be in [0, 1], got {min_share}; 0 counts any overlap")
    height, width = mask.shape[1:]
    if height < grid[0] or width < grid[1]:
        # Cells between pixels would overlap no mask at all.
        raise ValueError(
            f"mask must be at least as fine as the grid of {grid[0]} x {grid[1]} tokens, got {height} x {width} "
            "pixels; enlarge it first"
        )
    inside = []
    for axis, (cells, pixels) in enumerate(zip(grid, (height, width), strict=True), start=1):
        place = torch.arange(pixels, device=mask.device) * cells // pixels
        inside.append((place >= box[:, :, axis, :1]) & (place < box[:, :, axis, 1:]))
    held = torch.einsum("trh,thw,trw->tr", inside[0].float(), mask.float(), inside[1].float())
    total = mask.flatten(1).sum(1).clamp_min(1)[:, None]
    return (held > 0) & (held / total >= min_share)


def chance_of_overlap(
    num_regions: Int[Tensor, " token"], overlapping: Int[Tensor, " token"], chosen: Int[Tensor, " token"]
) -> Float[Tensor, " token"]:
    """Chance that `chosen` regions drawn without replacement include one that overlaps: 1 - C(G-m, K) / C(G, K)."""
    total, miss = num_regions.double(), (num_regions - overlapping).double()
    k = torch.minimum(chosen, num_regions).double()
    log = torch.lgamma
    log_ratio = log(miss + 1) - log((miss - k).clamp_min(0) + 1) - log(total + 1) + log(total - k + 1)
    return torch.where(k > miss, torch.ones_like(miss), 1 - log_ratio.exp())


def majority_by_chance(chance: Float[Tensor, "token chooser"]) -> Float[Tensor, " token"]:
    """Chance that more than half of independent choosers hit, each with a chance of its own."""
    hits = torch.zeros(chance.shape[0], chance.shape[1] + 1, dtype=chance.dtype, device=chance.device)
    hits[:, 0] = 1.0
    for chooser in range(chance.shape[1]):
        p = chance[:, chooser, None]
        hits = hits * (1 - p) + torch.nn.functional.pad(hits[:, :-1], (1, 0)) * p
    return hits[:, chance.shape[1] // 2 + 1 :].sum(1)


class RoutingAccuracy(SampleMetric):
    """Share of answer tokens whose routed regions overlap the mask of what the token describes.

    What overlaps is said by `overlapping_regions(min_share=...)`; heads are pooled in each of three ways: `mean` of
    them, `union` (any head looked there), `majority` (more than half did). Beside each figure stands its closed-form
    random value, for heads that draw as many regions as they chose, independently.

    Source: Song et al. (2026), routing accuracy; the random values are exact.

    Args:
        num_layers: Layers that route.
        num_heads: Query heads.
    """

    higher_is_better = True

    def __init__(self, num_layers: int, num_heads: int) -> None:
        table = (num_layers, num_heads)
        super().__init__(
            {
                "hits": (table, torch.int64),
                "chosen": (table, torch.int64),
                "num_regions": ((), torch.int64),
                "overlapping": ((), torch.int64),
            }
        )

    def update(
        self,
        index: Int[Tensor, "token layer head slot"],
        overlaps: Bool[Tensor, "token region"],
        num_regions: Int[Tensor, " token"],
        ids: Sequence[Any] | None = None,
    ) -> None:
        """Adds answer tokens.

        Args:
            index: Regions that the query which predicts the token chose, -1 = empty.
            overlaps: True = the region overlaps the mask of what the token describes.
            num_regions: Regions that could be chosen.
            ids: What names the tokens (sample and place); one that was named before is not counted again.
        """
        padded = torch.nn.functional.pad(overlaps, (0, 1))
        slot = torch.where(index >= 0, index, overlaps.shape[1]).long()
        hits = padded[:, None, None, :].expand(*index.shape[:3], -1).gather(3, slot).any(-1)
        self.add(
            keys_of(ids, len(num_regions)),
            hits=hits,
            chosen=(index >= 0).sum(-1),
            num_regions=num_regions,
            overlapping=overlaps.sum(1),
        )

    def compute(self) -> dict[str, Tensor]:
        """`per_head` `[layer head]`, `mean`, `union`, `majority`, each with its `_random`; NaN without tokens."""
        rows = self.rows()
        hits = rows["hits"].to(torch.float64)
        many = [
            rows[name][:, None, None].expand_as(hits).flatten() for name in ("num_regions", "overlapping")
        ]
        chance = chance_of_overlap(many[0], many[1], rows["chosen"].flatten()).view(hits.shape)
        flat, drawn = hits.flatten(1), chance.flatten(1)
        return {
            "per_head": hits.mean(0),
            "per_head_random": chance.mean(0),
            "mean": hits.mean(),
            "mean_random": chance.mean(),
            "union": flat.amax(1).mean(),
            "union_random": (1 - (1 - drawn).prod(1)).mean(),
            "majority": (flat.mean(1) > 0.5).to(torch.float64).mean(),
            "majority_random": majority_by_chance(drawn).mean(),
        }

    def best_head(self) -> tuple[int, int]:
        """Layer (counted among those that route) and head with the highest accuracy; choose it on validation data."""
        hits = self.rows()["hits"].sum(0)
        best = int(hits.flatten().argmax())
        return best // hits.shape[1], best % hits.shape[1]
