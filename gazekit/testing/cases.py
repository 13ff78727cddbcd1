"""What a law looks at, and the ways to state the same thing differently: alone, padded, permuted."""

import random
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.contracts import Entries, Look, Plan, Regions, Rows, Selection, TokenLayout, Tokens, View
from gazekit.testing.prompts import sketch

T = TypeVar("T")
_GARBAGE = 7.0


@dataclass(frozen=True)
class PoolingCase:
    """A look at all tokens of a layout, its regions, and the rows that score them."""

    layout: TokenLayout
    look: Look
    regions: Regions
    rows: Rows

    def __str__(self) -> str:
        return (
            f"layout (regions in capitals):\n{sketch(self.layout, self.regions)}\n"
            f"rows at queries {self.rows.query.tolist()}\n"
            f"key {list(self.look.key.shape)}:\n{self.look.key}\n"
            f"query {list(self.look.query.shape)}:\n{self.look.query}"
        )


@dataclass(frozen=True)
class RoutingCase:
    """Scores, and what a router may know besides."""

    scores: Float[Tensor, "batch head row region"]
    view: View

    def __str__(self) -> str:
        view = self.view
        return (
            f"layout (regions in capitals):\n{sketch(view.layout, view.regions)}\n"
            f"openness {view.openness}, layer {view.layer}, "
            f"{view.num_heads} heads, {view.num_kv_heads} KV heads\n"
            f"rows at queries {view.rows.query.tolist()}, order {view.rows.first.tolist()}\n"
            f"complete [batch row region]: {view.complete.int().tolist()}\nscores: {self.scores.tolist()}"
        )


@dataclass(frozen=True)
class AttentionCase:
    """Queries, entries and the plan of one call of a backend; tensors lie on the CPU.

    Attributes:
        query: The queries.
        entries: What they may attend to.
        plan: How.
        device: Where the backend is to be asked.
    """

    query: Float[Tensor, "batch head query dim"]
    entries: Entries
    plan: Plan
    device: str = "cpu"

    def __str__(self) -> str:
        entries, plan = self.entries, self.plan
        selection = None if plan.selection is None else plan.selection.index.tolist()
        return (
            f"query {list(self.query.shape)} {self.query.dtype}, key {list(entries.key.shape)}, "
            f"value {list(entries.value.shape)}\n"
            f"queries: {_tokens_text(plan.query)}\nentries: {_tokens_text(entries.tokens)}\n"
            f"begin {_listed(entries.begin)}, count {_listed(entries.count)}, free {entries.free}\n"
            f"rows: of {plan.rows.of.tolist()}, first {plan.rows.first.tolist()}\n"
            f"regions: first {plan.regions.first.tolist()}, last {plan.regions.last.tolist()}, "
            f"document {plan.regions.document.tolist()}\n"
            f"selection {selection}, keeps {'a rule' if plan.keeps else None}, "
            f"confined {sorted(kind.name for kind in plan.confined)}"
        )


def _tokens_text(tokens: Tokens) -> str:
    return ", ".join(f"{field.name} {getattr(tokens, field.name).tolist()}" for field in fields(tokens))


def _listed(tensor: Tensor | None) -> object:
    return None if tensor is None else tensor.tolist()


def map_tensors(thing: T, function: Callable[[Tensor], Tensor]) -> T:
    """Applies `function` to every tensor of a dataclass, dataclasses and dicts inside it included."""
    return _mapped(thing, function)


def _mapped(thing: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(thing, Tensor):
        return function(thing)
    if isinstance(thing, dict):
        return {name: _mapped(value, function) for name, value in thing.items()}
    if is_dataclass(thing) and not isinstance(thing, type):
        return replace(thing, **{f.name: _mapped(getattr(thing, f.name), function) for f in fields(thing)})
    return thing


def pooling_sample(case: PoolingCase, sample: int) -> PoolingCase:
    """One sample by itself, with no more regions than it has."""
    alone = _one(case, sample)
    return replace(alone, regions=_trimmed(alone.regions))


def routing_sample(case: RoutingCase, sample: int) -> RoutingCase:
    """One sample by itself, with no more regions than it has."""
    alone = _one(case, sample)
    regions = _trimmed(alone.view.regions)
    view = replace(alone.view, regions=regions, complete=alone.view.complete[..., : regions.count])
    return replace(alone, scores=alone.scores[..., : regions.count], view=view)


def attention_sample(case: AttentionCase, sample: int) -> AttentionCase:
    """One sample by itself, with no more regions than it has."""
    alone = _one(case, sample)
    regions, entries = _trimmed(alone.plan.regions), alone.entries
    if entries.begin is not None and entries.count is not None:
        entries = replace(
            entries, begin=entries.begin[..., : regions.count], count=entries.count[..., : regions.count]
        )
    return replace(alone, entries=entries, plan=replace(alone.plan, regions=regions))


def _one(case: T, sample: int) -> T:
    return map_tensors(case, lambda tensor: tensor[sample : sample + 1])


def _trimmed(regions: Regions) -> Regions:
    return _narrow(regions, int((regions.size > 0).sum()))


def _narrow(regions: Regions, count: int) -> Regions:
    return pick_regions(regions, torch.arange(count), regions.owner)


def pick_regions(regions: Regions, index: Int[Tensor, " new"], owner: Int[Tensor, "batch token"]) -> Regions:
    """The regions `index` in this order, with members as in `owner`."""
    names = ("size", "first", "last", "unit", "document", "ordinal", "box")
    return replace(regions, owner=owner, **{name: getattr(regions, name)[:, index] for name in names})


def take_entries(entries: Entries, index: Int[Tensor, "batch #kv_head new"]) -> Entries:
    """The entries `index`, -1 giving padding with garbage in it; `begin`, `count` and `free` are lost."""
    heads = max(index.shape[1], entries.position.shape[1])
    position = entries.position.expand(-1, heads, -1).gather(2, index.expand(-1, heads, -1).clamp_min(0))
    return Entries(
        key=_taken(entries.key, index),
        value=_taken(entries.value, index),
        tokens=entries.tokens.take(index),
        position=position.masked_fill(index < 0, -1),
    )


def _taken(
    source: Float[Tensor, "batch kv_head entry dim"], index: Int[Tensor, "batch #kv_head new"]
) -> Float[Tensor, "batch kv_head new dim"]:
    where = index.expand(-1, source.shape[1], -1)[..., None].expand(-1, -1, -1, source.shape[3])
    return source.gather(2, where.clamp_min(0)).masked_fill(where < 0, _GARBAGE)


def region_major(entries: Entries, regions: Regions) -> Entries:
    """The same entries region by region, free ones last, with room for the members that are not there."""
    owner, valid = entries.tokens.owner.tolist(), entries.tokens.valid.tolist()
    sizes = regions.size.tolist()
    room = max((sum(size) for size in sizes), default=0)
    index, begin, count = [], [], []
    for b, heads in enumerate(owner):
        for head, owners in enumerate(heads):
            members: list[list[int]] = [[] for _ in range(regions.count + 1)]
            for e, region in enumerate(owners):
                if valid[b][head][e]:
                    members[region].append(e)
            free = members.pop()
            begin.append([sum(sizes[b][:r]) for r in range(regions.count)])
            count.append([len(region) for region in members])
            padded = [e for size, region in zip(sizes[b], members, strict=True)
                      for e in region + [-1] * (size - len(region))]  # fmt: skip
            index.append(padded + [-1] * (room - len(padded)) + free)
    length = max(map(len, index))
    shape = (len(owner), len(owner[0]), -1)
    table = torch.tensor([row + [-1] * (length - len(row)) for row in index], dtype=torch.int64)
    return replace(
        take_entries(entries, table.reshape(*shape[:2], length)),
        begin=torch.tensor(begin, dtype=torch.int64).reshape(*shape[:2], regions.count),
        count=torch.tensor(count, dtype=torch.int64).reshape(*shape[:2], regions.count),
        free=room,
    )


def shuffled(case: AttentionCase, seed: int) -> AttentionCase:
    """The same entries in another order; regions that lie contiguously still do, members permuted."""
    entries, dice = case.entries, random.Random(seed)
    heads = entries.tokens.owner.shape[1]
    index = []
    for b in range(entries.key.shape[0]):
        for head in range(heads):
            places = list(range(entries.key.shape[2]))
            index.append(_shuffle_blocks(places, _blocks(entries, b, head), dice))
    table = torch.tensor(index, dtype=torch.int64).reshape(entries.key.shape[0], heads, -1)
    moved = take_entries(entries, table)
    return replace(case, entries=replace(moved, begin=entries.begin, count=entries.count, free=entries.free))


def _blocks(entries: Entries, b: int, head: int) -> list[tuple[int, int]]:
    """The ranges within which entries may change places."""
    end = entries.key.shape[2]
    if entries.begin is None or entries.count is None or entries.free is None:
        return [(0, end)]
    head %= entries.begin.shape[1]
    begin, count = entries.begin[b, head].tolist(), entries.count[b, head].tolist()
    return [*((start, start + n) for start, n in zip(begin, count, strict=True)), (entries.free, end)]


def _shuffle_blocks(places: list[int], blocks: list[tuple[int, int]], dice: random.Random) -> list[int]:
    for start, stop in blocks:
        block = places[start:stop]
        dice.shuffle(block)
        places[start:stop] = block
    return places


def padded(case: AttentionCase, queries: int, entries: int) -> AttentionCase:
    """The same with columns of padding before queries and entries."""
    stored, plan = case.entries, case.plan
    batch = case.query.shape[0]

    moved = take_entries(stored, _after_padding(entries, stored.key.shape[2], batch))
    garbage = case.query.new_full((*case.query.shape[:2], queries, case.query.shape[3]), _GARBAGE)
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
    most = max(map(len, heads))
    index = torch.tensor([[head + [-1] * (most - len(head)) for head in heads]], dtype=torch.int64)
    regions = (plan.regions.document[0] == document).nonzero()[:, 0]
    renumber = torch.full((plan.regions.count + 1,), -1, dtype=torch.int64)
    renumber[regions] = torch.arange(len(regions))
    kept = take_entries(entries, index.reshape(1, len(heads), most))
    kept = replace(kept, tokens=kept.tokens.owned_by(renumber[kept.tokens.owner]))
    own = pick_regions(plan.regions, regions, renumber[plan.regions.owner])
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
            rows=pick_rows(plan.rows, queries, rows),
            regions=own,
            selection=selection,
        ),
    )


def pick_rows(rows: Rows, queries: Int[Tensor, " new_query"], index: Int[Tensor, " new_row"]) -> Rows:
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
    )


def _left(index: Int[Tensor, "batch head row slot"]) -> Int[Tensor, "batch head row slot"]:
    """Ascending, -1 last."""
    far = torch.iinfo(index.dtype).max
    ordered = index.masked_fill(index < 0, far).sort(dim=-1).values
    return ordered.masked_fill(ordered == far, -1)


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
    picked = pick_rows(view.rows, columns, rows)
    own = pick_regions(view.regions, regions, renumber[view.regions.owner[:, columns]])
    alone = replace(
        view,
        layout=TokenLayout(
            tokens=replace(tokens, document=tokens.document - document, unit=_from_zero(tokens.unit)),
            clip=_from_zero(layout.clip[:, columns]),
            place=layout.place[:, columns],
        ),
        regions=replace(own, document=own.document - document, unit=_from_zero(own.unit)),
        rows=replace(picked, document=picked.document - document, owner=renumber[picked.owner]),
        complete=view.complete[:, rows][..., regions],
        earlier={n: Selection(_left(renumber[s.index[:, :, rows].long()])) for n, s in view.earlier.items()},
    )
    return RoutingCase(scores=case.scores[:, :, rows][..., regions], view=alone)


def _from_zero(number: Tensor) -> Tensor:
    """Numbers from 0 what was numbered from elsewhere; -1 stays."""
    inside = number >= 0
    lowest = number[inside].min() if bool(inside.any()) else 0
    return torch.where(inside, number - lowest, -1)


def permuted_regions(case: RoutingCase, order: Int[Tensor, " region"]) -> RoutingCase:
    """A routing case of a single sample in which region `order[i]` has the id `i`."""
    view = case.view
    renumber = torch.cat([order.argsort(), torch.tensor([-1])])
    rows = replace(view.rows, owner=renumber[view.rows.owner])
    moved = replace(
        view,
        regions=pick_regions(view.regions, order, renumber[view.regions.owner]),
        rows=rows,
        complete=view.complete[..., order],
        earlier={n: Selection(_left(renumber[s.index.long()])) for n, s in view.earlier.items()},
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
            earlier={n: Selection(s.index[:, :, start:stop]) for n, s in view.earlier.items()},
        ),
    )
