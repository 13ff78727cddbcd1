"""Which blocks of queries and keys can see each other at all, whatever is routed: FlexAttention's static side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import pad

from gazekit.contracts import Entries, Keeps, Plan, Tokens, in_view, to_heads

BLOCK = 128
_FREE, _NO_QUERY, _NO_KEY = -4, -2, -3
_FAR = torch.iinfo(torch.int32).max

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""FlexAttention's `mask_mod`: whether a query of a head of a sample sees a key; True = visible."""


@dataclass(frozen=True)
class Fields:
    """What the base rule reads of each query, or of each key, as 32-bit integers.

    Attributes:
        document: Its document; of padding a number that no other side has.
        order: Its order.
        unit: Of a key its unit; of a query the only one that it reaches, -4 = all of them.
        owner: Of a key its region, of a free one the number of regions.
    """

    document: Int[Tensor, "batch #kv_head token"]
    order: Int[Tensor, "batch #kv_head token"]
    unit: Int[Tensor, "batch #kv_head token"]
    owner: Int[Tensor, "batch #kv_head token"]


@dataclass(frozen=True)
class Structure:
    """Everything that a plan says but for its selection: the same in all layers of a forward.

    Attributes:
        query: Of each query.
        key: Of each key.
        num_blocks: Blocks of keys that each block of queries may reach.
        blocks: Which they are, those first.
    """

    query: Fields
    key: Fields
    num_blocks: Int[Tensor, "batch #head query_block"]
    blocks: Int[Tensor, "batch #head query_block key_block"]

    def mask(self, rule: Rule) -> BlockMask:
        """FlexAttention's mask. No block is called full: there the rule would not be asked, which has the selection."""
        lengths = self.query.order.shape[2], self.key.order.shape[2]
        return BlockMask.from_kv_blocks(
            self.num_blocks, self.blocks, BLOCK_SIZE=BLOCK, mask_mod=rule, seq_lengths=lengths
        )


def structure_of(plan: Plan, tokens: Tokens, num_heads: int) -> Structure:
    """The structure of a plan over entries that are `tokens`."""
    query, key = _fields(plan.query, _NO_QUERY), _fields(tokens, _NO_KEY)
    confined = torch.zeros_like(plan.query.kind, dtype=torch.bool)
    for kind in plan.confined:
        confined |= plan.query.kind == int(kind)
    query = Fields(query.document, query.order, query.unit.masked_fill(~confined, _FREE), query.owner)
    owner = torch.where(tokens.owner >= 0, tokens.owner, plan.regions.count).int()
    key = Fields(key.document, key.order, key.unit, owner)
    reach = to_heads(_reach(query, key), num_heads)
    return Structure(
        query=query,
        key=key,
        num_blocks=reach.sum(-1, dtype=torch.int32),
        blocks=reach.to(torch.int8).argsort(dim=-1, descending=True, stable=True).int(),
    )


def rule_of(structure: Structure, plan: Plan, entries: Entries, num_heads: int) -> Rule:
    """The one formula of visibility for one query and one key; memory for it goes with queries times regions."""
    asks, asked = structure.query, structure.key
    per_query, per_key = num_heads // asks.order.shape[1], num_heads // asked.order.shape[1]
    table = in_view(plan) if plan.routes else None
    per_choice = 1 if table is None else num_heads // table.shape[1]

    def rule(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        q, k = (batch, head // per_query, query), (batch, head // per_key, key)
        unit = asks.unit[q]
        seen = (asks.document[q] == asked.document[k]) & (asked.order[k] <= asks.order[q])
        seen = seen & ((unit == _FREE) | (unit == asked.unit[k]))
        if table is not None:
            seen = seen & table[batch, head // per_choice, query, asked.owner[k]]
        return seen

    return rule


def has_rule(keeps: Keeps | None, query: Tokens, key: Tokens) -> bool:
    """Whether anything is kept in view by a rule on tokens; asked of one pair, not of all."""
    return keeps is not None and keeps(query.narrow(0, 1), key.narrow(0, 1)) is not None


def _fields(tokens: Tokens, nothing: int) -> Fields:
    document = tokens.document.masked_fill(~tokens.valid, nothing)
    return Fields(document.int(), tokens.order.int(), tokens.unit.int(), tokens.owner.int())


def _reach(query: Fields, key: Fields) -> Bool[Tensor, "batch #kv_head query_block key_block"]:
    """False = no query of the block can see any key of the block, by the range of what each holds."""
    real_query, real_key = query.document != _NO_QUERY, key.document != _NO_KEY
    q_order, k_order = _most(query.order, real_query), _least(key.order, real_key)
    q_low, q_high = _least(query.document, real_query), _most(query.document, real_query)
    k_low, k_high = _least(key.document, real_key), _most(key.document, real_key)
    bound = real_query & (query.unit != _FREE)
    unbound = _most((real_query & ~bound).int(), real_query) > 0
    u_low, u_high = _least(query.unit, bound), _most(query.unit, bound)
    unit_low, unit_high = _least(key.unit, real_key), _most(key.unit, real_key)

    def q(field: Tensor) -> Tensor:
        return field[..., :, None]

    def k(field: Tensor) -> Tensor:
        return field[..., None, :]

    near = (k(k_order) <= q(q_order)) & (k(k_low) <= q(q_high)) & (k(k_high) >= q(q_low))
    return near & (q(unbound) | ((k(unit_low) <= q(u_high)) & (k(unit_high) >= q(u_low))))


def _most(
    field: Int[Tensor, "batch #kv_head token"], of: Bool[Tensor, "batch #kv_head token"]
) -> Int[Tensor, "batch #kv_head block"]:
    """The highest value of each block among those asked `of`; far below all where there is none."""
    return _blocked(field.masked_fill(~of, -_FAR), -_FAR).amax(-1)


def _least(
    field: Int[Tensor, "batch #kv_head token"], of: Bool[Tensor, "batch #kv_head token"]
) -> Int[Tensor, "batch #kv_head block"]:
    """The lowest; far above all where there is none."""
    return _blocked(field.masked_fill(~of, _FAR), _FAR).amin(-1)


def _blocked(field: Tensor, fill: int) -> Tensor:
    return pad(field, (0, -field.shape[-1] % BLOCK), value=fill).unflatten(-1, (-1, BLOCK))
