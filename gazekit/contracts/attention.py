"""The one formula of visibility, and what a backend gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from gazekit.contracts.look import Selection
from gazekit.contracts.regions import Regions, Rows
from gazekit.contracts.tokens import Kind, Tokens

Keeps = Callable[[Tokens, Tokens], Bool[Tensor, "batch #head query key"] | None]


@dataclass(frozen=True)
class Entries:
    """Keys and values to attend to, in any order, any subset: attention after RoPE does not care.

    Attributes:
        key: After RoPE, heads not repeated.
        value: Aligned with `key`.
        tokens: What each entry is; padding marks entries that do not count.
        position: Place of each entry in the sequence, -1 = padding.
        begin: First entry of each region where regions lie contiguously, else None.
        count: Entries of each region that are stored, along with `begin`.
        free: First entry from which on every entry is in no region, along with `begin`.
        stored: How many there are, where these are but some of them, so that a backend reads them as it would read
            all; None = these are all.
    """

    key: Float[Tensor, "batch kv_head entry dim"]
    value: Float[Tensor, "batch kv_head entry value_dim"]
    tokens: Tokens
    position: Int[Tensor, "batch #kv_head entry"]
    begin: Int[Tensor, "batch #kv_head region"] | None = None
    count: Int[Tensor, "batch #kv_head region"] | None = None
    free: int | None = None
    stored: int | None = None


@dataclass(frozen=True)
class Plan:
    """How the queries of one call may look.

    Attributes:
        query: What each query is.
        rows: What routes; `rows.of` aligns with the queries.
        regions: The division; backends read its orders and documents, never its token axis.
        selection: What each row looks at; None = every region (dense).
        keeps: An elementwise rule on tokens of what stays in view (sinks, a window); None = nothing.
        scale: Factor on the logits.
        confined: Kinds of queries that reach tokens of their own unit only.
        tracked: True = autograd follows the queries, so that a backend without a backward refuses; whether it follows
            keys and values they say themselves.
        memo: What a backend keeps for the other layers of the forward, by its name; the caller hands the same one
            to all of them. What is kept says which tokens it was made for, since layers may hold different ones.
    """

    query: Tokens
    rows: Rows
    regions: Regions
    selection: Selection | None
    keeps: Keeps | None
    scale: float
    confined: frozenset[Kind] = frozenset({Kind.CONTEXT})
    tracked: bool = False
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def routes(self) -> bool:
        """False = every query sees all that the base rule allows."""
        return self.selection is not None and self.regions.count > 0 and self.rows.count > 0

    def noting(self, memo: dict[str, Any]) -> Plan:
        """The same plan with another memo; written out, since every layer of every step asks."""
        return Plan(
            query=self.query, rows=self.rows, regions=self.regions, selection=self.selection, keeps=self.keeps,
            scale=self.scale, confined=self.confined, tracked=self.tracked, memo=memo,
        )  # fmt: skip

    def narrow(self, start: int, stop: int) -> Plan:
        """The plan of the queries `[start, stop)`; the rows stay as they are."""
        rows = replace(self.rows, of=self.rows.of[:, start:stop])
        return replace(self, query=self.query.narrow(start, stop), rows=rows)


def reachable(
    query: Tokens, key: Tokens, confined: frozenset[Kind]
) -> Bool[Tensor, "batch #kv_head query key"]:
    """The base rule: both real, same document, not later; for confined kinds of queries the own unit only."""
    q, k = (lambda field: field[..., :, None].int()), (lambda field: field[..., None, :].int())
    bound = torch.zeros_like(query.kind)
    for kind in confined:
        bound = bound.masked_fill(query.kind == int(kind), -1)
    asking, asked = query.document.masked_fill(~query.valid, -2), key.document.masked_fill(~key.valid, -3)
    # Differing bits of 32-bit integers, in place: a CPU is slower at comparisons and at finding new memory.
    differ = (q(query.unit) ^ k(key.unit)).bitwise_and_(q(bound)).bitwise_or_(q(asking) ^ k(asked))
    return differ.logical_not() & (k(key.order) <= q(query.order))


def visible(plan: Plan, key: Tokens, num_heads: int) -> Bool[Tensor, "batch #head query key"]:
    """What each query of each head may attend to: True = visible.

    `base and (not routes(query) or free(key) or keeps(query, key) or chosen(row, owner) or open(row, owner))`
    is the rule. The head axis is 1 where all heads see the same.
    """
    base = to_heads(reachable(plan.query, key, plan.confined), num_heads)
    if not plan.routes:
        return base
    inside = by_owner(in_view(plan), key, num_heads)
    kept = None if plan.keeps is None else plan.keeps(plan.query, key)
    if kept is not None:
        inside = inside | to_heads(kept, num_heads)
    return base & inside


def in_view(plan: Plan) -> Bool[Tensor, "batch #any_head query region_or_free"]:
    """Which regions each query sees up to itself: chosen by its row, or open for it; True = in view.

    A query that does not route sees them all. The last column stands for keys of no region.
    """
    assert plan.selection is not None, "a dense plan has every region in view"
    of, regions = plan.rows.of.clamp_min(0), plan.regions
    index = plan.selection.index
    own = Selection(index.gather(2, of[:, None, :, None].expand(-1, index.shape[1], -1, index.shape[3])))
    first, document = (field.gather(1, of)[:, :, None] for field in (plan.rows.first, plan.rows.document))
    begun = (document == regions.document[:, None]) & (regions.last[:, None] > first)
    seen = own.chosen(regions.count) | (begun | (plan.rows.of < 0)[:, :, None])[:, None]
    return torch.nn.functional.pad(seen, (0, 1), value=True)


def by_owner(
    table: Shaped[Tensor, "batch #any_head query region_or_free"], key: Tokens, num_heads: int
) -> Shaped[Tensor, "batch #head query key"]:
    """What `table` says of each key's region, or of no region in its last column."""
    owner = to_heads(key.owner, num_heads)
    slot = torch.where(owner >= 0, owner, table.shape[3] - 1)[:, :, None]
    table = to_heads(table, num_heads)
    heads = max(table.shape[1], slot.shape[1])
    return table.expand(-1, heads, -1, -1).gather(3, slot.expand(-1, heads, table.shape[2], -1))


def to_heads(
    field: Shaped[Tensor, "batch #kv_head *rest"], num_heads: int
) -> Shaped[Tensor, "batch #head *rest"]:
    """Expands a head axis of KV heads to query heads; leaves 1 and full axes alone."""
    if field.shape[1] in (1, num_heads):
        return field
    return field.repeat_interleave(num_heads // field.shape[1], dim=1)
