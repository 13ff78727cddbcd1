"""The rules of attention once more, one query and one entry at a time: what every backend must equal.

Written apart from `gazekit.contracts.visible` and `gazekit.attend.ReferenceBackend`, in loops that follow the
sentences of the design, so that a mistake in one of the three shows.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Entries, Kind, Plan, Tokens


def sees(plan: Plan, entries: Entries, num_heads: int) -> list[list[list[list[int]]]]:
    """The entries that each query attends to, by sample, head and query."""
    rule = None if plan.keeps is None else plan.keeps(plan.query, entries.tokens)
    kept = None if rule is None else rule.tolist()
    keys, queries = _listed(entries.tokens), _listed(plan.query)
    return [
        [
            _of_head(plan, queries[b][0], keys[b], kept and kept[b], b, head, num_heads)
            for head in range(num_heads)
        ]
        for b in range(len(queries))
    ]


def attend(
    query: Float[Tensor, "batch head query dim"], entries: Entries, plan: Plan
) -> Float[Tensor, "batch head query value_dim"]:
    """One softmax over what each query sees; zeros where it sees nothing."""
    num_heads, group = query.shape[1], query.shape[1] // entries.key.shape[1]
    seen = sees(plan, entries, num_heads)
    samples = []
    for b, heads in enumerate(seen):
        for head, queries in enumerate(heads):
            for q, visible in enumerate(queries):
                key, value = entries.key[b, head // group, visible], entries.value[b, head // group, visible]
                weight = torch.softmax(key @ query[b, head, q] * plan.scale, dim=0)
                samples.append(weight @ value if visible else value.sum(0))
    return torch.stack(samples).reshape(*query.shape[:3], -1)


def _of_head(
    plan: Plan,
    queries: list[tuple],
    keys: list[list[tuple]],
    kept: list | None,
    b: int,
    head: int,
    num_heads: int,
) -> list[list[int]]:
    """The entries that each query of one head attends to; head axes count query heads, KV heads or 1."""
    own = keys[head * len(keys) // num_heads]
    seen = []
    for q, (kind, unit, document, order, _) in enumerate(queries):
        confined, in_view = kind in plan.confined, _regions_in_view(plan, b, head, num_heads, q)
        keeps = kept and kept[head * len(kept) // num_heads][q]
        visible = []
        for e, (key_kind, key_unit, key_document, key_order, owner) in enumerate(own):
            if Kind.PAD in (kind, key_kind) or key_document != document:
                continue
            if key_order > order or (confined and key_unit != unit):
                continue
            if owner < 0 or in_view is None or owner in in_view or (keeps and keeps[e]):
                visible.append(e)
        seen.append(visible)
    return seen


def _regions_in_view(plan: Plan, b: int, head: int, num_heads: int, q: int) -> set[int] | None:
    """The regions that a query's row chose or finds still open; None = all: the query does not route."""
    row = int(plan.rows.of[b, q])
    if row < 0 or plan.selection is None:
        return None
    index = plan.selection.index
    chosen = set(index[b, head * index.shape[1] // num_heads, row].tolist())
    first, document = int(plan.rows.first[b, row]), int(plan.rows.document[b, row])
    lasts, documents = plan.regions.last[b].tolist(), plan.regions.document[b].tolist()
    begun = zip(lasts, documents, strict=True)
    return chosen | {r for r, (last, own) in enumerate(begun) if own == document and last > first}


def _listed(tokens: Tokens) -> list[list[list[tuple]]]:
    """Kind, unit, document, order and owner of each token, by sample and head."""
    packed = [tokens.kind, tokens.unit, tokens.document, tokens.order, tokens.owner]
    return [[list(map(tuple, head)) for head in sample] for sample in torch.stack(packed, dim=-1).tolist()]
