"""Regions by lot: the floor that every router is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.contracts import Selection, View
from gazekit.route._select import Share, check_count, check_share, heads_of, keep_highest, with_ids

_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True, kw_only=True)
class RandomRouter:
    """Looks at `k` complete regions drawn evenly: the baseline that shows what routing is worth.

    The lot is a hash of seed, layer, head, the row's order in its document and the region's ordinal in its
    document. So it is the same in a batch, packed, fed in pieces and decoded, and needs no generator.

    Args:
        k: Regions that a row looks at, at least 1.
        seed: Another seed, other lots.
        share: "head": each query head draws. "group": each KV head. "layer": one lot for all.

    Raises:
        ValueError: `k` is below 1 or `share` is unknown.
    """

    k: int
    seed: int = 0
    share: Share = "head"

    def __post_init__(self) -> None:
        check_count("k", self.k)
        check_share(self.share)

    def __call__(self, scores: Float[Tensor, "batch head row region"] | None, view: View) -> Selection | None:
        """Regions by lot; None at openness 1. The scores are not read."""
        if view.openness >= 1:
            return None
        head = torch.arange(heads_of(self.share, view), device=view.complete.device)
        state = torch.zeros_like(head) + self.seed
        state = _mix(_mix(state) + view.layer)
        state = _mix(state + head)[None, :, None]
        state = _mix(state + view.rows.first[:, None, :])[..., None]
        lots = _mix(state + view.regions.ordinal[:, None, None, :])
        return keep_highest(with_ids(lots), view.complete[:, None], self.k, view.openness)


def _mix(x: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """One step of splitmix64 (Steele, Lea and Flood 2014), in integers that wrap around."""
    x = x + _signed(_GOLDEN)
    x = (x ^ _shift(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shift(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shift(x, 31)


def _shift(x: Int[Tensor, "..."], bits: int) -> Int[Tensor, "..."]:
    """Right shift that brings in zeros, which torch has only for bytes."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(constant: int) -> int:
    """The signed number with the same 64 bits."""
    return constant - (1 << 64) if constant >> 63 else constant
