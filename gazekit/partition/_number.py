"""Regions from names: what all partitioners share."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.contracts import Kind, TokenLayout

ALL_KINDS = frozenset({Kind.TEXT, Kind.VISUAL, Kind.CONTEXT})


def check_kinds(kinds: Iterable[Kind]) -> frozenset[Kind]:
    """The kinds of tokens to divide, as a set.

    Raises:
        ValueError: There is none, or padding is among them.
    """
    chosen = frozenset(kinds)
    if not chosen or not chosen <= ALL_KINDS:
        raise ValueError(
            f"kinds must be some of text, visual and context, got {sorted(map(str, chosen))}; "
            "padding is in no region"
        )
    return chosen


def members_of(layout: TokenLayout, kinds: frozenset[Kind]) -> Bool[Tensor, "batch token"]:
    """True = a token of one of these kinds."""
    member = torch.zeros_like(layout.kind, dtype=torch.bool)
    for kind in kinds:
        member |= layout.kind == kind
    return member


def number(
    name: Int[Tensor, "batch token part"], member: Bool[Tensor, "batch token"]
) -> Int[Tensor, "batch token"]:
    """Ids per sample, ascending with first members, so that what follows never changes them; -1 = no member.

    Tokens of one document and sample that share a `name` share a region. The caller names the document.
    """
    owner = torch.full(name.shape[:2], -1, dtype=torch.int64, device=name.device)
    if not bool(member.any()):
        return owner
    sample = torch.arange(name.shape[0], device=name.device)[:, None, None].expand(*name.shape[:2], 1)
    place = torch.arange(member.numel(), device=name.device)[member.flatten()]
    full = torch.cat([sample, name], dim=-1).flatten(0, 1)
    _, group = torch.unique(full[place], dim=0, return_inverse=True)
    first = torch.full_like(group, member.numel()).scatter_reduce(0, group, place, reduce="amin")[group]
    begins = torch.zeros_like(member).flatten()
    begins[first] = True
    rank = begins.view_as(member).cumsum(dim=1) - 1
    owner.view(-1)[place] = rank.flatten()[first]
    return owner
