"""The one formula of visibility, and what a backend gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
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
    """

    key: Float[Tensor, "batch kv_head entry dim"]
    value: Float[Tensor, "batch kv_head entry value_dim"]
    tokens: Tokens
    position: Int[Tensor, "batch #kv_head entry"]
    begin: Int[Tensor, "batch #kv_head region"] | None = None
    count: Int[Tensor, "batch #kv_head region"] | None = None
    free: int | None = None


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
    """

    query: Tokens
    rows: Rows
    regions: Regions
    selection: Selection | None
    keeps: Keeps | None
    scale: float
    confined: frozenset[Kind] = frozenset({Kind.CONTEXT})


def reachable(query: Tokens, key: Tokens, confined: frozenset[Kind]) -> Bool[Tensor, "batch #kv_head query key"]:
    """The base rule: both real, same document, not later, and the own unit only for confined kinds of queries."""
    q, k = (lambda field: field[..., :, None]), (lambda field: field[..., None, :])
    base = q(query.valid) & k(key.valid) & (q(query.document) == k(key.document)) & (k(key.order) <= q(query.order))
    bound = torch.zeros_like(query.valid)
    for kind in confined:
        bound = bound | (query.kind == kind)
    return base & (~q(bound) | (q(query.unit) == k(key.unit)))


def visible(plan: Plan, key: Tokens, num_heads: int) -> Bool[Tensor, "batch #head query key"]:
    """What each query of each head may attend to: True = visible.

    `base and (not routes(query) or free(key) or keeps(query, key) or chosen(row, owner) or open(row, owner))`.
    The head axis is 1 where all heads see the same.
    """
    base = reachable(plan.query, key, plan.confined)
    base = _to_heads(base, num_heads)
    if plan.selection is None or plan.regions.count == 0 or plan.rows.count == 0:
        return base
    owner = _to_heads(key.owner, num_heads)
    looked = _to_heads(plan.selection.chosen(plan.regions.count), num_heads) | _open(plan)[:, None]
    free = torch.ones_like(looked[..., :1])
    looked = torch.cat([looked, free], dim=-1)
    row = plan.rows.of
    per_query = looked.gather(2, row.clamp_min(0)[:, None, :, None].expand(-1, looked.shape[1], -1, looked.shape[3]))
    per_query = per_query | (row < 0)[:, None, :, None]
    heads = max(per_query.shape[1], owner.shape[1])
    slot = torch.where(owner >= 0, owner, plan.regions.count)[:, :, None, :]
    inside = per_query.expand(-1, heads, -1, -1).gather(3, slot.expand(-1, heads, per_query.shape[2], -1))
    kept = None if plan.keeps is None else plan.keeps(plan.query, key)
    if kept is not None:
        inside = inside | _to_heads(kept, num_heads)
    return base & inside


def _open(plan: Plan) -> Bool[Tensor, "batch row region"]:
    """True = the region had begun for the row's document but is not complete for the row: in view up to each query."""
    same = plan.rows.document[:, :, None] == plan.regions.document[:, None, :]
    return same & (plan.regions.last[:, None, :] > plan.rows.first[:, :, None])


def _to_heads(field: Tensor, num_heads: int) -> Tensor:
    """Expands a head axis of KV heads to query heads; leaves 1 and full axes alone."""
    if field.shape[1] in (1, num_heads):
        return field
    return field.repeat_interleave(num_heads // field.shape[1], dim=1)
