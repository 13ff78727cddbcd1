"""The rules of attention once more, one query and one entry at a time: what every backend must equal.

Written apart from `gazekit.contracts.visible` and `gazekit.attend.ReferenceBackend`, in loops that follow the
sentences of the design, so that a mistake in one of the three shows.
"""

from fractions import Fraction

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gazekit.contracts import Entries, Kind, Plan, Tokens


def sees(plan: Plan, entries: Entries, num_heads: int) -> Bool[Tensor, "batch head query entry"]:
    """The entries that each query attends to: True = seen."""
    rule = None if plan.keeps is None else plan.keeps(plan.query, entries.tokens)
    kept = None if rule is None else rule.tolist()
    keys, queries = _listed(entries.tokens), _listed(plan.query)
    seen = []
    for b in range(len(queries)):
        heads = [Fraction(head, num_heads) for head in range(num_heads)]
        seen.append(
            [_seen_by_head(plan, queries[b][0], keys[b], kept and kept[b], b, head) for head in heads]
        )
    return torch.tensor(seen, dtype=torch.bool).reshape(len(queries), num_heads, plan.query.length, -1)


def attend(
    query: Float[Tensor, "batch head query dim"],
    entries: Entries,
    plan: Plan,
    seen: Bool[Tensor, "batch head query entry"] | None = None,
) -> Float[Tensor, "batch head query value_dim"]:
    """One softmax over what each query sees; zeros where it sees nothing."""
    if entries.key.shape[2] == 0:
        return query.new_zeros(*query.shape[:3], entries.value.shape[3])
    seen = sees(plan, entries, query.shape[1]) if seen is None else seen
    group = query.shape[1] // entries.key.shape[1]
    key, value = (field.repeat_interleave(group, dim=1) for field in (entries.key, entries.value))
    logits = (plan.scale * query @ key.transpose(2, 3)).masked_fill(~seen, -torch.inf)
    peak = logits.detach().amax(dim=-1, keepdim=True)
    weight = (logits - peak.masked_fill(peak == -torch.inf, 0)).exp()
    return weight @ value / weight.sum(dim=-1, keepdim=True).clamp_min(0.5)


def _seen_by_head(
    plan: Plan, queries: list[tuple], keys: list[list[tuple]], kept: list | None, b: int, head: Fraction
) -> list[list[bool]]:
    """What each query of one head attends to; `head` is its place in [0, 1) on a head axis of any length."""
    own = keys[int(head * len(keys))]
    seen = []
    for q, (kind, unit, document, order, _) in enumerate(queries):
        confined, in_view = kind in plan.confined, _regions_in_view(plan, b, head, q)
        keeps = kept and kept[int(head * len(kept))][q]
        row = []
        for e, (key_kind, key_unit, key_document, key_order, owner) in enumerate(own):
            real = Kind.PAD not in (kind, key_kind) and key_document == document
            reached = real and key_order <= order and (key_unit == unit or not confined)
            inside = owner < 0 or in_view is None or owner in in_view or bool(keeps and keeps[e])
            row.append(reached and inside)
        seen.append(row)
    return seen


def _regions_in_view(plan: Plan, b: int, head: Fraction, q: int) -> set[int] | None:
    """The regions that a query's row chose or finds still open; None = all: the query does not route."""
    row = int(plan.rows.of[b, q])
    if row < 0 or plan.selection is None:
        return None
    index = plan.selection.index
    chosen = set(index[b, int(head * index.shape[1]), row].tolist())
    first, document = int(plan.rows.first[b, row]), int(plan.rows.document[b, row])
    lasts, documents = plan.regions.last[b].tolist(), plan.regions.document[b].tolist()
    begun = zip(lasts, documents, strict=True)
    return chosen | {r for r, (last, own) in enumerate(begun) if own == document and last > first}


def _listed(tokens: Tokens) -> list[list[list[tuple]]]:
    """Kind, unit, document, order and owner of each token, by sample and head."""
    packed = [tokens.kind, tokens.unit, tokens.document, tokens.order, tokens.owner]
    return [[list(map(tuple, head)) for head in sample] for sample in torch.stack(packed, dim=-1).tolist()]
