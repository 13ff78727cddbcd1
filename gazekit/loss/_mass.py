"""How much dense attention falls on each region."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.contracts import Look, Tokens, View, reachable, to_heads

Pool = Literal["sum", "max"]

_BYTES = 64 * 2**20


def attention_mass(look: Look, view: View, pool: Pool = "sum") -> Float[Tensor, "batch head row region"]:
    """Softmax attention of each row over all keys that it may reach, pooled over each region, fp32 or wider.

    For a row of several queries: the mean of theirs with "sum", the highest with "max". A chunk of queries at a time;
    gradients flow where the look has them.
    """
    assert view.keys is not None, "the loop says what the keys are"
    assert view.query is not None, "the loop says what the queries are"
    index = _asked(view)
    batch, heads = look.query.shape[:2]
    wide = torch.promote_types(look.query.dtype, torch.float32)
    shape = (batch, heads, view.rows.count + 1, view.regions.count)
    mass = torch.zeros(shape, dtype=wide, device=look.query.device)
    step = max(1, _BYTES // max(1, 4 * batch * heads * look.key.shape[2]))
    for start in range(0, index.shape[1], step):
        some = index[:, start : start + step]
        found = _of_queries(look, view, view.query.take(some[:, None]), view.keys, some, pool)
        row = view.rows.of.gather(1, some.clamp_min(0)).masked_fill(some < 0, view.rows.count)
        where = torch.where(row >= 0, row, view.rows.count)[:, None, :, None].expand_as(found)
        how = "sum" if pool == "sum" else "amax"
        mass = mass.scatter_reduce(2, where, found, reduce=how, include_self=True)
    mass = mass[:, :, :-1]
    if pool == "max" or not view.rows.blocks:
        return mass
    rows = torch.arange(view.rows.count, device=index.device)
    size = (view.rows.of[:, None, :] == rows[:, None]).sum(-1).clamp_min(1)
    return mass / size[:, None, :, None]


def _asked(view: View) -> Int[Tensor, "batch asked"]:
    """The queries of these rows, ascending, -1 = padding."""
    if not view.rows.blocks:
        return view.rows.query
    inside = view.rows.of >= 0
    most = int(inside.sum(1).max()) if inside.numel() else 0
    order = inside.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
    return torch.where(inside.gather(1, order), order, -1)


def _of_queries(
    look: Look, view: View, asking: Tokens, keys: Tokens, index: Int[Tensor, "batch asked"], pool: Pool
) -> Float[Tensor, "batch head asked region"]:
    """The mass of the queries at `index`, which `asking` says what they are."""
    place = index.clamp_min(0)[:, None, :, None]
    query = look.query.gather(2, place.expand(-1, look.query.shape[1], -1, look.query.shape[3]))
    # Confined kinds of queries never route, so nothing is confined here.
    seen = to_heads(reachable(asking, keys, frozenset()), look.query.shape[1])
    wide = torch.promote_types(query.dtype, torch.float32)
    key = look.key.repeat_interleave(look.group, dim=1).to(wide)
    with torch.autocast(query.device.type, enabled=False):
        logits = (query.to(wide) @ key.transpose(2, 3)) * view.scale
    logits = logits.masked_fill(~seen, -math.inf)
    # A query that sees nothing would give NaN, and NaN gradients.
    logits = logits.masked_fill(~seen.any(-1, keepdim=True), 0.0)
    weight = logits.softmax(-1).masked_fill(~seen, 0.0)
    count = view.regions.count
    owner = torch.where(keys.owner >= 0, keys.owner, count)
    owner = to_heads(owner, look.query.shape[1])[:, :, None].expand_as(weight)
    table = torch.zeros(*weight.shape[:3], count + 1, dtype=wide, device=weight.device)
    how = "sum" if pool == "sum" else "amax"
    return table.scatter_reduce(3, owner, weight, reduce=how, include_self=True)[..., :count]


def divergence(
    target: Float[Tensor, "batch head row region"],
    log_share: Float[Tensor, "batch head row region"],
    there: Tensor,
) -> Float[Tensor, ""]:
    """KL of a target from shares in logarithm, summed over rows, averaged over heads.

    The target is made to sum to one over what is `there`. Rows whose target has no mass count as nothing.
    """
    target = target.masked_fill(~there, 0.0)
    total = target.sum(-1, keepdim=True)
    share = target / total.masked_fill(total <= 0, 1.0)
    log_share = log_share.masked_fill(~there, 0.0)
    each = torch.xlogy(share, share) - share * log_share
    return each.sum(-1).mean(1).sum()
