"""The rules of attention once more, one query and one entry at a time: what every backend must equal.

Written apart from `gazekit.contracts.visible` and `gazekit.attend.ReferenceBackend`, in loops that follow the
sentences of the design, so that a mistake in one of the three shows.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Entries, Kind, Plan, Tokens


@dataclass(frozen=True)
class _Token:
    """One token's integers."""

    kind: int
    unit: int
    document: int
    order: int
    owner: int


def sees(plan: Plan, entries: Entries, num_heads: int) -> list[list[list[list[int]]]]:
    """The entries that each query attends to, by sample, head and query."""
    kept = None if plan.keeps is None else plan.keeps(plan.query, entries.tokens)
    keys, queries = _listed(entries.tokens), _listed(plan.query)

    def seen(b: int, head: int, q: int, e: int) -> bool:
        query, key = queries[b][0][q], keys[b][_of_head(head, num_heads, len(keys[b]))][e]
        if not _reaches(query, key, plan.confined):
            return False
        if key.owner < 0 or _looks(plan, b, head, num_heads, q, key.owner):
            return True
        return kept is not None and bool(kept[b, _of_head(head, num_heads, kept.shape[1]), q, e])

    length = entries.tokens.length
    return [
        [[[e for e in range(length) if seen(b, head, q, e)] for q in range(plan.query.length)]
         for head in range(num_heads)]
        for b in range(len(queries))
    ]  # fmt: skip


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


def _reaches(query: _Token, key: _Token, confined: frozenset[Kind]) -> bool:
    """Both real, same document, not later; the own unit only for kinds that are confined to it."""
    if Kind.PAD in (query.kind, key.kind) or query.document != key.document or key.order > query.order:
        return False
    return query.kind not in confined or query.unit == key.unit


def _looks(plan: Plan, b: int, head: int, num_heads: int, q: int, region: int) -> bool:
    """Whether a query's row chose a region, or finds it still open; a query that does not route sees all."""
    row = int(plan.rows.of[b, q])
    if row < 0 or plan.selection is None:
        return True
    index = plan.selection.index
    if region in index[b, _of_head(head, num_heads, index.shape[1]), row].tolist():
        return True
    same = int(plan.regions.document[b, region]) == int(plan.rows.document[b, row])
    return same and int(plan.regions.last[b, region]) > int(plan.rows.first[b, row])


def _of_head(head: int, num_heads: int, axis: int) -> int:
    """Where a query head stands on a head axis that counts query heads, KV heads or 1."""
    return head * axis // num_heads


def _listed(tokens: Tokens) -> list[list[list[_Token]]]:
    fields = [
        field.tolist() for field in (tokens.kind, tokens.unit, tokens.document, tokens.order, tokens.owner)
    ]
    return [
        [[_Token(*token) for token in zip(*head, strict=True)] for head in zip(*sample, strict=True)]
        for sample in zip(*fields, strict=True)
    ]
