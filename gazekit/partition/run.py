"""Runs of neighbouring tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.contracts import Kind, Regions, TokenLayout, regions_from_owner
from gazekit.partition._number import ALL_KINDS, check_kinds, members_of, number


@dataclass(frozen=True, kw_only=True)
class RunPartition:
    """Cuts the sequence of every document into runs of `length` tokens: blocks of MoBA and NSA, pages of Quest.

    Where text is among the `kinds`, runs go on through the whole document, images and text alike, and the tokens of
    other kinds are skipped. A run that is not full yet may still grow while decoding, so it counts as open: it is in
    view and cannot be chosen, at the end of a packed document too, so that packed, decoded and whole prompts agree.
    Without text, each image or video begins a run of its own, since what follows it is not known, and its last run
    is complete though shorter.

    As `rows`, it makes blocks of queries that route together (`kinds`: those that route).

    Args:
        length: Tokens of a run, at least 1.
        kinds: Kinds of tokens that are divided; all of them by default.

    Raises:
        ValueError: `length` is below 1, or `kinds` is empty or names padding.
    """

    length: int
    kinds: frozenset[Kind] = ALL_KINDS

    def __post_init__(self) -> None:
        if not isinstance(self.length, int) or self.length < 1:
            raise ValueError(
                f"length must be a whole number of at least 1 token, got {self.length!r}; "
                "runs of one token are TokenPartition()"
            )
        object.__setattr__(self, "kinds", check_kinds(self.kinds))

    def __call__(self, layout: TokenLayout) -> Regions:
        """The runs of a prompt."""
        member = members_of(layout, self.kinds)
        document = layout.tokens.document[:, 0]
        grows = Kind.TEXT in self.kinds
        stretch = torch.stack([document, torch.full_like(document, -1) if grows else layout.clip], dim=-1)
        run = _ranks(stretch, member).div(self.length, rounding_mode="floor")
        owner = number(torch.cat([stretch, run[..., None]], dim=-1), member)
        return regions_from_owner(owner, layout, _sizes(owner) < self.length if grows else None)


def _ranks(
    stretch: Int[Tensor, "batch token part"], member: Bool[Tensor, "batch token"]
) -> Int[Tensor, "batch token"]:
    """How many members of the same sample and stretch come before each member."""
    rank = torch.zeros_like(member, dtype=torch.int64)
    sample = torch.arange(len(member), device=member.device)[:, None, None].expand(*member.shape, 1)
    _, group, count = torch.unique(
        torch.cat([sample, stretch], dim=-1)[member], dim=0, return_inverse=True, return_counts=True
    )
    order = group.argsort(stable=True)
    within = torch.arange(len(group), device=member.device) - (count.cumsum(0) - count)[group[order]]
    rank[member] = torch.empty_like(within).scatter(0, order, within)
    return rank


def _sizes(owner: Int[Tensor, "batch token"]) -> Int[Tensor, "batch region"]:
    """Members of each region."""
    count = int(owner.max()) + 1 if owner.numel() else 0
    table = torch.zeros(owner.shape[0], count + 1, dtype=torch.int64, device=owner.device)
    return table.scatter_add(1, torch.where(owner >= 0, owner, count), torch.ones_like(owner))[:, :count]
