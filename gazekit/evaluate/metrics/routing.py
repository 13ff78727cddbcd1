"""Does the model look where the answer is?"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric


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
        ValueError: `min_share` is not in [0, 1].
    """
    if not 0.0 <= min_share <= 1.0:
        raise ValueError(f"min_share must be in [0, 1], got {min_share}; 0 counts any overlap")
    height, width = mask.shape[1:]
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


class RoutingAccuracy(Metric):
    """Share of answer tokens whose routed regions overlap the mask of what the token describes.

    Beside each figure stands its closed-form random value: for one head, and for the union of all heads if each
    drew its regions independently.

    Source: Song et al. (2026), routing accuracy; the random value is exact.

    Args:
        num_layers: Layers that route.
        num_heads: Query heads.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True

    def __init__(self, num_layers: int, num_heads: int) -> None:
        super().__init__()
        self.add_state("hits", torch.zeros(num_layers, num_heads, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state(
            "chance", torch.zeros(num_layers, num_heads, dtype=torch.float64), dist_reduce_fx="sum"
        )
        self.add_state("union_hits", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("union_chance", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("tokens", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        index: Int[Tensor, "token layer head slot"],
        overlaps: Bool[Tensor, "token region"],
        num_regions: Int[Tensor, " token"],
    ) -> None:
        """Adds answer tokens.

        Args:
            index: Regions that the query which predicts the token chose, -1 = empty.
            overlaps: True = the region overlaps the mask of what the token describes.
            num_regions: Regions that could be chosen.
        """
        padded = torch.nn.functional.pad(overlaps, (0, 1))
        slot = torch.where(index >= 0, index, overlaps.shape[1]).long()
        hit = padded[:, None, None, :].expand(*index.shape[:3], -1).gather(3, slot).any(-1)
        chosen = (index >= 0).sum(-1)
        many = [field[:, None, None].expand_as(chosen).flatten() for field in (num_regions, overlaps.sum(1))]
        chance = chance_of_overlap(many[0], many[1], chosen.flatten()).view(chosen.shape)
        self.hits += hit.sum(0)
        self.chance += chance.sum(0)
        self.union_hits += hit.flatten(1).any(1).sum()
        self.union_chance += (1 - (1 - chance).flatten(1).prod(1)).sum()
        self.tokens += index.shape[0]

    def compute(self) -> dict[str, Tensor]:
        """`per_head` and `per_head_random` `[layer head]`, `mean`, `mean_random`, `union`, `union_random`."""
        tokens = self.tokens.to(torch.float64)
        per_head, chance = self.hits / tokens, self.chance / tokens
        return {
            "per_head": per_head,
            "per_head_random": chance,
            "mean": per_head.mean(),
            "mean_random": chance.mean(),
            "union": self.union_hits / tokens,
            "union_random": self.union_chance / tokens,
        }

    def best_head(self) -> tuple[int, int]:
        """Layer (counted among those that route) and head with the highest accuracy; choose it on validation data."""
        best = int(self.hits.flatten().argmax())
        return best // self.hits.shape[1], best % self.hits.shape[1]
