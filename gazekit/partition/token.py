"""Regions of a single token."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gazekit.contracts import Kind, Regions, TokenLayout, regions_from_owner
from gazekit.partition._number import ALL_KINDS, check_kinds, members_of


@dataclass(frozen=True, kw_only=True)
class TokenPartition:
    """Makes every token a region: selection of single tokens, as DeepSeek Sparse Attention does.

    It is the finest division there is and costs one score a token; a cheap scorer belongs to it.

    Args:
        kinds: Kinds of tokens that are divided; all of them by default.

    Raises:
        ValueError: `kinds` is empty or names padding.
    """

    kinds: frozenset[Kind] = ALL_KINDS

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", check_kinds(self.kinds))

    def __call__(self, layout: TokenLayout) -> Regions:
        """One region for each token of `kinds`."""
        member = members_of(layout, self.kinds)
        return regions_from_owner(torch.where(member, member.long().cumsum(dim=1) - 1, -1), layout)
