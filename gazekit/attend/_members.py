"""Where the members of chosen regions lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.contracts import Entries, Plan, to_heads


@dataclass(frozen=True)
class Members:
    """The entries of what each head chose, one region after another, beside what other heads chose.

    Attributes:
        index: Entries. Behind those of a head that chose fewer its first one again, or the spare where it chose none.
        there: True = a member; None = all are.
    """

    index: Int[Tensor, "batch any_head member"]
    there: Bool[Tensor, "batch any_head member"] | None


@dataclass(frozen=True)
class Pieces:
    """Which pieces of the entries are chosen.

    Attributes:
        begin: First entry of each chosen region.
        count: Its entries; 0 = an empty slot.
        most: Entries of the head that chose most.
        least: Entries of the head that chose fewest.
    """

    begin: Int[Tensor, "batch any_head slot"]
    count: Int[Tensor, "batch any_head slot"]
    most: int
    least: int


def pieces_of(entries: Entries, plan: Plan) -> Pieces:
    """What one query of each sample chose: heads as many as the selection has, or KV heads where those differ."""
    assert plan.selection is not None, "see refuses"
    assert entries.begin is not None, "see refuses"
    assert entries.count is not None, "see refuses"
    index = plan.selection.index[:, :, 0].long()
    heads = max(field.shape[1] for field in (index, entries.begin, entries.tokens.kind))
    index = to_heads(index, heads).expand(-1, heads, -1)
    empty = (index < 0) | (plan.rows.of < 0)[:, :, None]
    slot = index.masked_fill(empty, 0)
    begin, count = (
        to_heads(field, heads).expand(-1, heads, -1).gather(2, slot).long()
        for field in (entries.begin, entries.count)
    )
    count = count.masked_fill(empty, 0)
    least, most = torch.aminmax(count.sum(dim=2))
    return Pieces(begin=begin, count=count, most=int(most), least=int(least))


def members_of(pieces: Pieces, entries: Entries, spare: int) -> Members:
    """Where pieces of the entries lie, by adding up steps from entry to entry; `spare` is one that may be read."""
    begin, count = pieces.begin, pieces.count
    ends = count.cumsum(dim=2)
    # From a region's last entry a step leads to the next one's first; an empty region's steps add up to none.
    jump = begin.clone()
    jump[..., 1:] -= (begin + count)[..., :-1]
    step = torch.ones(*begin.shape[:2], pieces.most + 1, dtype=torch.int64, device=begin.device)
    step[..., 0] = 0
    index = step.scatter_add_(2, ends - count, jump).cumsum(dim=2)[..., :-1]
    there = None
    if pieces.least < pieces.most:
        there = torch.arange(pieces.most, device=begin.device) < ends[..., -1:]
        index = torch.where(there, index, torch.where(there[..., :1], index[..., :1], spare))
    # A place among the regions' may be padding; where none is, nobody need look at each.
    valid = entries.tokens.valid[..., : entries.free]
    if not bool(valid.all()):
        valid = to_heads(entries.tokens.valid, index.shape[1]).expand(-1, index.shape[1], -1)
        real = valid.gather(2, index)
        there = real if there is None else there & real
    return Members(index, there)
