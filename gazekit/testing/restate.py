"""The same case stated differently: a sample or a document by itself, with padding, with other numbers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from gazekit.contracts import Regions, Rows, Selection, TokenLayout
from gazekit.testing.arrange import GARBAGE, region_major, take_entries
from gazekit.testing.cases import AttentionCase, PoolingCase, RoutingCase, map_tensors

T = TypeVar("T")


def padded(case: AttentionCase, queries: int, entries: int) -> AttentionCase:
    """The same with columns of padding before queries and entries."""
    stored, plan = case.entries, case.plan
    batch = case.query.shape[0]

    moved = take_entries(stored, _after_padding(entries, stored.key.shape[2], batch))
    garbage = case.query.new_full((*case.query.shape[:2], queries, case.query.shape[3]), GARBAGE)
    rows = replace(
        plan.rows,
        of=torch.nn.functional.pad(plan.rows.of, (queries, 0), value=-1),
        query=torch.where(plan.rows.query >= 0, plan.rows.query + queries, -1),
    )
    return replace(
        case,
        query=torch.cat([garbage, case.query], dim=2),
        entries=replace(
            moved,
            begin=None if stored.begin is None else stored.begin + entries,
            count=stored.count,
            free=None if stored.free is None else stored.free + entries,
        ),
        plan=replace(
            plan, query=plan.query.take(_after_padding(queries, case.query.shape[2], batch)), rows=rows
        ),
    )


def _after_padding(count: int, length: int, batch: int) -> Int[Tensor, "batch 1 new"]:
    return torch.arange(-count, length).clamp_min(-1).expand(batch, 1, -1)


def document_of(case: AttentionCase, document: int) -> AttentionCase:
    """One document of a case of a single sample, as a sample of its own without padding."""
    query, entries, plan = case.query, case.entries, case.plan
    queries = (plan.query.document[0, 0] == document).nonzero()[:, 0]
    heads = [(inside == document).nonzero()[:, 0].tolist() for inside in entries.tokens.document[0]]
    most = max(1, *map(len, heads))
    index = torch.tensor([[head + [-1] * (most - len(head)) for head in heads]], dtype=torch.int64)
    regions = (plan.regions.document[0] == document).nonzero()[:, 0]
    renumber = torch.full((plan.regions.count + 1,), -1, dtype=torch.int64)
    renumber[regions] = torch.arange(len(regions))
    kept = take_entries(entries, index.reshape(1, len(heads), most))
    kept = replace(kept, tokens=kept.tokens.owned_by(renumber[kept.tokens.owner]))
    own = _pick_regions(plan.regions, regions, renumber[plan.regions.owner])
    rows = (plan.rows.document[0] == document).nonzero()[:, 0]
    selection = plan.selection
    if selection is not None:
        chosen = renumber[selection.index[:, :, rows].long()]
        selection = Selection(index=_left(chosen))
    return replace(
        case,
        query=query[:, :, queries],
        entries=kept if entries.begin is None else region_major(kept, own),
        plan=replace(
            plan,
            query=plan.query.take(queries[None, None]),
            rows=_pick_rows(plan.rows, queries, rows),
            regions=own,
            selection=selection,
        ),
    )


def routed_document(case: RoutingCase, document: int) -> RoutingCase:
    """One document of a routing case of a single sample, as a sample of its own, numbered from 0."""
    view = case.view
    layout = view.layout
    columns = (layout.tokens.document[0, 0] == document).nonzero()[:, 0]
    regions = (view.regions.document[0] == document).nonzero()[:, 0]
    rows = (view.rows.document[0] == document).nonzero()[:, 0]
    renumber = torch.full((view.regions.count + 1,), -1, dtype=torch.int64)
    renumber[regions] = torch.arange(len(regions))
    tokens = layout.tokens.take(columns[None, None])
    picked = _pick_rows(view.rows, columns, rows)
    own = _pick_regions(view.regions, regions, renumber[view.regions.owner[:, columns]])
    alone = replace(
        view,
        layout=TokenLayout(
            tokens=replace(tokens, document=tokens.document - document, unit=_from_zero(tokens.unit)),
            clip=_from_zero(layout.clip[:, columns]),
            place=layout.place[:, columns],
            segment=None if layout.segment is None else layout.segment[:, columns],
            prior=None if layout.prior is None else layout.prior[:, columns],
        ),
        regions=replace(own, document=own.document - document, unit=_from_zero(own.unit)),
        rows=replace(picked, document=picked.document - document, owner=renumber[picked.owner]),
        complete=view.complete[:, rows][..., regions],
        earlier=_each(view.earlier, lambda index: _left(renumber[index[:, :, rows].long()])),
    )
    return RoutingCase(scores=case.scores[:, :, rows][..., regions], view=alone)


def permuted_regions(case: RoutingCase, order: Int[Tensor, " region"]) -> RoutingCase:
    """A routing case of a single sample in which region `order[i]` has the id `i`."""
    view = case.view
    renumber = torch.cat([order.argsort(), torch.tensor([-1])])
    rows = replace(view.rows, owner=renumber[view.rows.owner])
    moved = replace(
        view,
        regions=_pick_regions(view.regions, order, renumber[view.regions.owner]),
        rows=rows,
        complete=view.complete[..., order],
        earlier=_each(view.earlier, lambda index: _left(renumber[index.long()])),
    )
    return RoutingCase(scores=case.scores[..., order], view=moved)


def row_chunk(case: RoutingCase, start: int, stop: int) -> RoutingCase:
    """The rows `[start, stop)` by themselves."""
    view = case.view
    return RoutingCase(
        scores=case.scores[:, :, start:stop],
        view=replace(
            view,
            rows=view.rows.narrow(start, stop),
            complete=view.complete[:, start:stop],
            earlier=_each(view.earlier, lambda index: index[:, :, start:stop]),
        ),
    )


def _each(
    earlier: Mapping[int, Selection | None], change: Callable[[Tensor], Tensor]
) -> dict[int, Selection | None]:
    """Earlier selections with their indices changed."""
    return {n: None if s is None else Selection(change(s.index).int()) for n, s in earlier.items()}


def _pick_regions(regions: Regions, index: Int[Tensor, " new"], owner: Int[Tensor, "batch token"]) -> Regions:
    """The regions `index` in this order, with members as in `owner`."""
    names = ("size", "first", "last", "unit", "document", "ordinal", "box")
    return replace(regions, owner=owner, **{name: getattr(regions, name)[:, index] for name in names})


def _pick_rows(rows: Rows, queries: Int[Tensor, " new_query"], index: Int[Tensor, " new_row"]) -> Rows:
    """The rows `index` of a single sample, over the queries `queries`."""
    row_of = torch.full((rows.count + 1,), -1, dtype=torch.int64)
    row_of[index] = torch.arange(len(index))
    query_of = torch.full((rows.of.shape[1] + 1,), -1, dtype=torch.int64)
    query_of[queries] = torch.arange(len(queries))
    return Rows(
        of=row_of[rows.of[:, queries]],
        query=query_of[rows.query[:, index]],
        first=rows.first[:, index],
        owner=rows.owner[:, index],
        document=rows.document[:, index],
        blocks=rows.blocks,
    )


def _left(index: Int[Tensor, "batch head row slot"]) -> Int[Tensor, "batch head row slot"]:
    """Ascending, -1 last."""
    far = torch.iinfo(index.dtype).max
    ordered = index.masked_fill(index < 0, far).sort(dim=-1).values
    return ordered.masked_fill(ordered == far, -1)


def _from_zero(number: Tensor) -> Tensor:
    """Numbers from 0 what was numbered from elsewhere; -1 stays."""
    inside = number >= 0
    lowest = number[inside].min() if bool(inside.any()) else 0
    return torch.where(inside, number - lowest, -1)


def pooling_sample(case: PoolingCase, sample: int) -> PoolingCase:
    """One sample by itself, with no more regions than it has."""
    alone = sample_of(case, sample)
    return replace(alone, regions=_trimmed(alone.regions))


def routing_sample(case: RoutingCase, sample: int) -> RoutingCase:
    """One sample by itself, with no more regions than it has."""
    alone = sample_of(case, sample)
    regions = _trimmed(alone.view.regions)
    view = replace(alone.view, regions=regions, complete=alone.view.complete[..., : regions.count])
    return replace(alone, scores=alone.scores[..., : regions.count], view=view)


def attention_sample(case: AttentionCase, sample: int) -> AttentionCase:
    """One sample by itself, with no more regions than it has."""
    alone = sample_of(case, sample)
    regions, entries = _trimmed(alone.plan.regions), alone.entries
    if entries.begin is not None and entries.count is not None:
        entries = replace(
            entries, begin=entries.begin[..., : regions.count], count=entries.count[..., : regions.count]
        )
    return replace(alone, entries=entries, plan=replace(alone.plan, regions=regions))


def sample_of(case: T, sample: int) -> T:
    """The tensors of one sample, no shorter than those of the batch."""
    return map_tensors(case, lambda tensor: tensor[sample : sample + 1])


def _trimmed(regions: Regions) -> Regions:
    return _narrow(regions, int((regions.size > 0).sum()))


def _narrow(regions: Regions, count: int) -> Regions:
    return _pick_regions(regions, torch.arange(count), regions.owner)
