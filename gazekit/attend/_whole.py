"""Reading everything under a mask, for few queries on a CPU: products, a mask by region, a softmax in fp32."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.attend._decode import reached
from gazekit.attend._products import key_products, value_products
from gazekit.attend._sdpa import fold, unfold
from gazekit.attend._workspace import Workspace
from gazekit.contracts import Plan, Tokens, in_view, to_heads


def attend_whole(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch kv_head entry dim"],
    value: Float[Tensor, "batch kv_head entry value_dim"],
    tokens: Tokens,
    plan: Plan,
    workspace: Workspace,
) -> Float[Tensor, "batch head query value_dim"]:
    """Attention outside autograd; a query that sees nothing gives zeros."""
    batch, heads, queries = query.shape[:3]
    kv_heads, length = key.shape[1:3]
    wide = torch.promote_types(query.dtype, torch.float32)
    table, slot = _table(plan, wide), _slots(plan, tokens, heads)
    shape = (heads, queries, length)
    logits, hidden = (workspace.take(name, shape, wide) for name in ("logits", "hidden"))
    weights = workspace.take("weights", (1, kv_heads, heads * queries // kv_heads, length), value.dtype)
    folded = fold(query, kv_heads)
    outs = []
    # Sample by sample, so that what lies between the products stays in the caches.
    for sample in range(batch):
        some = slice(sample, sample + 1)
        products = key_products(key[some], folded[some], workspace)[:, :, :length].transpose(2, 3)
        logits.view(products.shape).copy_(products)
        _look_up(table[sample], slot[sample], hidden)
        torch.add(hidden, logits, alpha=plan.scale, out=logits)
        blind = logits.amax(dim=-1, keepdim=True) == -math.inf
        torch.softmax(logits, dim=-1, out=hidden)
        if bool(blind.any()):
            hidden.masked_fill_(blind, 0.0)
        weights.copy_(hidden.view(weights.shape))
        outs.append(value_products(weights, value[some], followed=False))
    return unfold(outs[0] if batch == 1 else torch.cat(outs), heads)


def _table(plan: Plan, dtype: torch.dtype) -> Float[Tensor, "batch #any_head query slot"]:
    """What is added to the logits of each region; then 0 for what is free, and minus infinity for what is hidden."""
    if not plan.routes:
        batch, queries = plan.query.kind.shape[0], plan.query.length
        return torch.tensor([0.0, -math.inf], dtype=dtype).expand(batch, 1, queries, -1)
    seen = in_view(plan)
    table = torch.zeros(*seen.shape[:3], seen.shape[3] + 1, dtype=dtype)
    table[..., :-1].masked_fill_(~seen, -math.inf)
    table[..., -1] = -math.inf
    return table


def _slots(plan: Plan, key: Tokens, heads: int) -> Int[Tensor, "batch #head query entry"]:
    """Which column of the table says what each query may do with each entry."""
    base = reached(plan.query, key, plan.confined)
    free = plan.regions.count if plan.routes else 0
    if not plan.routes:
        return torch.where(base, free, free + 1)
    owner = torch.where(key.owner >= 0, key.owner, free)[:, :, None]
    kept = None if plan.keeps is None else plan.keeps(plan.query, key)
    if kept is not None:
        if kept.shape[1] != 1:
            base, owner, kept = (to_heads(field, heads) for field in (base, owner, kept))
        owner = torch.where(kept, free, owner)
    return torch.where(base, owner, free + 1)


def _look_up(
    table: Float[Tensor, "any_head query slot"],
    slot: Int[Tensor, "any_head_too query entry"],
    out: Float[Tensor, "head query entry"],
) -> None:
    """Writes `table[head, query, slot[head, query, entry]]`; what has fewer heads holds for several of `out`.

    A row of the table is looked up at all entries in one go, several times as fast as each entry for each head.
    """
    share, sharing = (out.shape[0] // field.shape[0] for field in (slot, table))
    for number, slots in enumerate(slot.unbind()):
        first, last = number * share, (number + 1) * share - 1
        for query, index in enumerate(slots.unbind()):
            rows, into = table[first // sharing : last // sharing + 1, query], out[first : last + 1, query]
            if sharing == 1:
                torch.index_select(rows, 1, index, out=into)
            else:
                into.unflatten(0, (rows.shape[0], -1)).copy_(rows.index_select(1, index)[:, None])
