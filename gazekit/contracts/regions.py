"""Regions: sets of tokens that are looked at or not as a whole, and the rows that choose among them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts.layout import TokenLayout

# What compares orders does so in 32 bits, where anything larger would come out as something else.
_FAR = torch.iinfo(torch.int32).max


@dataclass(frozen=True)
class Regions:
    """A division of a prompt's tokens into regions. Built by `regions_from_owner`.

    The region axis is as long as the fullest sample's count; a slot that a sample lacks has size 0 and document -1.

    Attributes:
        owner: The region of each token of the layout, -1 = in none. Ids ascend with the order of first members.
        size: Members, in tokens.
        first: Lowest `order` of a member; far above every order for an empty slot.
        last: Highest `order` of a member; far above every order for an empty slot, and for a region that may still
            get members, so that it is complete for nobody.
        unit: Unit of the members, the first one's where a region spans several; -1 = none.
        document: Document of the members; -1 = empty slot.
        ordinal: Rank among the regions of its document, from 0.
        box: Half-open ranges `[start, stop)` of the members along (t, y, x), in tokens, for pictures.
    """

    owner: Int[Tensor, "batch token"]
    size: Int[Tensor, "batch region"]
    first: Int[Tensor, "batch region"]
    last: Int[Tensor, "batch region"]
    unit: Int[Tensor, "batch region"]
    document: Int[Tensor, "batch region"]
    ordinal: Int[Tensor, "batch region"]
    box: Int[Tensor, "batch region 3 2"]

    @property
    def count(self) -> int:
        """Regions of the fullest sample: the length of the region axis."""
        return self.size.shape[1]

    def aligned(self, owner: Int[Tensor, "batch token"]) -> Regions:
        """The same regions, their members listed along another token axis (a cache's entries, say)."""
        return replace(self, owner=owner)


def regions_from_owner(
    owner: Int[Tensor, "batch token"],
    layout: TokenLayout,
    growing: Bool[Tensor, "batch region"] | None = None,
) -> Regions:
    """Derives every field of `Regions` from each token's region.

    Args:
        owner: The region of each token, -1 = in none; ids ascend with first members.
        layout: What the tokens are.
        growing: True = tokens that are not declared yet may join the region: a run of text that is not full, say.
            Such a region is open to all that reach it until it is full, so that decoding equals one forward over the
            whole. None = every region has all its members.

    Raises:
        ValueError: A region's members lie in different documents.
    """
    batch = owner.shape[0]
    count = int(owner.max()) + 1 if owner.numel() else 0
    tokens = layout.tokens

    def reduce(values: Tensor, how: str, start: int) -> Tensor:
        table = torch.full((batch, count + 1), start, dtype=torch.int64, device=owner.device)
        slot = torch.where(owner >= 0, owner, count)
        return table.scatter_reduce(1, slot, values, reduce=how, include_self=True)[:, :count]

    size = reduce(torch.ones_like(owner), "sum", 0)
    empty = size == 0
    unfinished = empty if growing is None else empty | growing
    first = reduce(tokens.order[:, 0], "amin", _FAR)
    last = reduce(tokens.order[:, 0], "amax", -1).masked_fill(unfinished, _FAR)
    document = reduce(tokens.document[:, 0], "amax", -1)
    if bool((reduce(tokens.document[:, 0], "amin", _FAR) != document)[~empty].any()):
        raise ValueError(
            "a region must lie within one document; give tokens of different documents different regions"
        )
    unit = reduce(tokens.unit[:, 0], "amin", _FAR).masked_fill(empty, -1)
    start = torch.stack([reduce(layout.place[..., axis], "amin", _FAR) for axis in range(3)], -1)
    stop = torch.stack([reduce(layout.place[..., axis], "amax", -1) for axis in range(3)], -1) + 1
    box = torch.stack([start, stop], -1).masked_fill(empty[..., None, None], 0)
    return Regions(
        owner=owner, size=size, first=first, last=last, unit=unit, document=document,
        ordinal=_rank(document).masked_fill(empty, -1), box=box,
    )  # fmt: skip


def _rank(document: Int[Tensor, "batch region"]) -> Int[Tensor, "batch region"]:
    """How many regions of the same document precede each."""
    ascending, order = document.sort(dim=1, stable=True)
    first = torch.searchsorted(ascending, ascending)
    place = torch.arange(document.shape[1], device=document.device)
    return torch.zeros_like(document).scatter(1, order, place - first)


@dataclass(frozen=True)
class Rows:
    """What routes: normally one row per routing query; a block of queries in query-block systems.

    Attributes:
        of: The row of each query; -1 = this query does not route and sees all that the base rule allows.
        query: The first query of each row, an index on the query axis; -1 = a sample has no such row.
        first: `order` of the row's first query.
        owner: The region that the row's first query is itself a member of; -1 = none.
        document: The row's document; -1 = no such row.
        blocks: True = a row may have several queries.
    """

    of: Int[Tensor, "batch query"]
    query: Int[Tensor, "batch row"]
    first: Int[Tensor, "batch row"]
    owner: Int[Tensor, "batch row"]
    document: Int[Tensor, "batch row"]
    blocks: bool = False

    @property
    def count(self) -> int:
        """Rows of the fullest sample."""
        return self.query.shape[1]

    @property
    def valid(self) -> Bool[Tensor, "batch row"]:
        """True = a real row."""
        return self.query >= 0

    def narrow(self, start: int, stop: int) -> Rows:
        """The rows `[start, stop)`; queries of other rows get -1."""
        if start <= 0 and stop >= self.count:
            return self
        inside = (self.of >= start) & (self.of < stop)
        return Rows(
            of=torch.where(inside, self.of - start, -1),
            query=self.query[:, start:stop],
            first=self.first[:, start:stop],
            owner=self.owner[:, start:stop],
            document=self.document[:, start:stop],
            blocks=self.blocks,
        )

    def mean(self, query: Float[Tensor, "batch head query dim"]) -> Float[Tensor, "batch head row dim"]:
        """The mean of each row's queries, fp32 or wider; of its one query where rows are no blocks.

        Anything for a row that a sample lacks.
        """
        wide = torch.promote_types(query.dtype, torch.float32)
        if self.count == query.shape[2] == 1:
            return query.to(wide)
        if not self.blocks:
            return tokens_at(query, self.query).to(wide)
        member = self.of[:, None, :] == torch.arange(self.count, device=query.device)[:, None]
        share = member.to(wide) / member.sum(-1, keepdim=True).clamp_min(1)
        masked = query.to(wide).masked_fill((self.of < 0)[:, None, :, None], 0.0)
        with torch.autocast(query.device.type, enabled=False):
            return share[:, None] @ masked


def tokens_at(
    field: Float[Tensor, "batch head token dim"], index: Int[Tensor, "batch new"]
) -> Float[Tensor, "batch head new dim"]:
    """What stands at `index` of each sample; something that stands there where it is -1.

    A sample at a time, since that copies whole rows where `gather` copies number by number.
    """
    some = [one.index_select(2, at) for one, at in zip(field.split(1), index.clamp_min(0), strict=True)]
    return some[0] if len(some) == 1 else torch.cat(some)


def complete_regions(rows: Rows, regions: Regions) -> Bool[Tensor, "batch row region"]:
    """True = the region may be chosen by the row: same document, its last token not after the row's first query."""
    same = (rows.document[:, :, None] == regions.document[:, None, :]) & (regions.document >= 0)[:, None, :]
    return same & (regions.last[:, None, :] <= rows.first[:, :, None])
