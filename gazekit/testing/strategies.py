"""Hypothesis strategies for what passes between rooms.

Structure is drawn, so that a counterexample shrinks to few documents, clips and regions; the numbers in
tensors come from a generator whose seed is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.contracts import (
    Entries,
    Keeps,
    Kind,
    Look,
    Plan,
    Regions,
    Rows,
    Selection,
    Sizes,
    TokenLayout,
    Tokens,
    View,
    complete_regions,
)
from gazekit.testing.arrange import region_major, take_entries
from gazekit.testing.cases import AttentionCase, PoolingCase, RoutingCase
from gazekit.testing.draw import Draw, calm, composite, generator, seeds
from gazekit.testing.prompts import Clip, Division, Document, Grid, Prompts, Runs, Scatter, Text, divide

_CONFINED = (frozenset({Kind.CONTEXT}), frozenset({Kind.CONTEXT, Kind.VISUAL}))


def clips(max_side: int = 4, max_frames: int = 3) -> st.SearchStrategy[Clip]:
    """Images and, with text between the frames, videos; some with context tokens."""
    return st.builds(
        Clip,
        rows=st.integers(1, max_side),
        columns=st.integers(1, max_side),
        frames=st.integers(1, max_frames),
        stamp=st.integers(0, 2),
        context=st.integers(0, 2),
    )


def documents(max_pieces: int = 4, max_side: int = 4) -> st.SearchStrategy[Document]:
    """Text and clips in any order, also text alone and images without text; often an image and a question."""
    text = st.builds(Text, length=st.integers(1, 4))
    anything = st.lists(st.one_of(text, clips(max_side)), min_size=1, max_size=max_pieces).map(tuple)
    side = st.integers(min(2, max_side), max_side)
    image = st.builds(Clip, rows=side, columns=side, context=st.integers(0, 1))
    question = st.tuples(image, text)
    return st.one_of(anything, question, st.tuples(text, clips(max_side), text))


def prompts(
    max_samples: int = 3,
    max_documents: int = 2,
    max_pieces: int = 4,
    max_side: int = 4,
    outside: bool | None = None,
) -> st.SearchStrategy[Prompts]:
    """Batches of ragged prompts: packed documents, padding on either side, with and without images.

    `outside` says whether they carry segments and a map from outside; None tries both.
    """
    sample = st.lists(documents(max_pieces, max_side), min_size=1, max_size=max_documents).map(tuple)
    described = st.builds(
        Prompts,
        samples=st.lists(sample, min_size=1, max_size=max_samples).map(tuple),
        pad_left=st.booleans(),
        spare=st.integers(0, 2),
        bidirectional=st.booleans(),
        outside=st.booleans() if outside is None else st.just(outside),
    )
    return calm(described)


def layouts(**limits: Any) -> st.SearchStrategy[TokenLayout]:
    """Layouts of `prompts`, to which the limits go."""
    return calm(prompts(**limits).map(Prompts.layout))


def divisions(max_side: int = 3) -> st.SearchStrategy[Division]:
    """Ways to divide a layout: cells of a grid, members anywhere, or runs of all tokens."""
    side = st.integers(1, max_side)
    return st.one_of(
        st.builds(Grid, size=st.tuples(st.integers(1, 2), side, side)),
        st.builds(Scatter, count=st.integers(1, 4), seed=seeds()),
        st.builds(Runs, length=st.integers(1, 5)),
    )


def regions(layout: TokenLayout) -> st.SearchStrategy[Regions]:
    """Divisions of a layout."""
    return calm(divisions().map(lambda division: divide(layout, division)))


@composite
def tokens(draw: Draw, limits: Mapping[str, int] | None = None) -> Tokens:
    """The tokens of `layouts`, to which the limits go, with the regions that own them."""
    layout = draw(layouts(**(limits or {})))
    return layout.tokens.owned_by(draw(regions(layout)).owner[:, None])


def sizes(max_layers: int = 3) -> st.SearchStrategy[Sizes]:
    """Heads, KV heads and widths of a small model."""
    return st.builds(
        lambda layers, kv_heads, group, dim: Sizes(
            num_layers=layers,
            num_heads=kv_heads * group,
            num_kv_heads=kv_heads,
            head_dim=dim,
            hidden_dim=kv_heads * group * dim,
        ),
        st.integers(1, max_layers),
        st.integers(1, 2),
        st.integers(1, 3),
        st.sampled_from([1, 2, 3, 8]),
    )


def rows_of(query: Tokens, kinds: frozenset[Kind], block: int = 1) -> Rows:
    """Rows for the queries of `kinds`: `block` neighbours of one document to a row."""
    routes = [[k in kinds and k != Kind.PAD for k in sample] for sample in query.kind[:, 0].tolist()]
    document, order, owner = (field[:, 0].tolist() for field in (query.document, query.order, query.owner))
    members: list[list[list[int]]] = []
    for b, sample in enumerate(routes):
        blocks: list[list[int]] = []
        for q, routing in enumerate(sample):
            joins = blocks and blocks[-1][-1] == q - 1 and document[b][q - 1] == document[b][q]
            if routing and joins and len(blocks[-1]) < block:
                blocks[-1].append(q)
            elif routing:
                blocks.append([q])
        members.append(blocks)
    count = max(map(len, members))
    of = torch.full((len(routes), query.length), -1, dtype=torch.int64)
    fields = torch.full((4, len(routes), count), -1, dtype=torch.int64)
    for b, blocks in enumerate(members):
        for row, queries in enumerate(blocks):
            of[b, queries] = row
            first = queries[0]
            fields[:, b, row] = torch.tensor([first, order[b][first], owner[b][first], document[b][first]])
    return Rows(
        of=of, query=fields[0], first=fields[1], owner=fields[2], document=fields[3], blocks=block > 1
    )


@composite
def rows(draw: Draw, query: Tokens, max_block: int = 1) -> Rows:
    """Rows over queries: text routes, or visual queries too; a row is a block of up to `max_block`."""
    kinds = draw(st.sampled_from([frozenset({Kind.TEXT}), frozenset({Kind.TEXT, Kind.VISUAL})]))
    return rows_of(query, kinds, draw(st.integers(1, max_block)))


@composite
def scores(draw: Draw, shape: Sequence[int], distinct: bool = True) -> Tensor:
    """Scores in fp32: all different from each other, or from a few values so that ties are frequent."""
    chance = generator(draw(seeds()))
    if not distinct:
        return torch.randint(-2, 3, tuple(shape), generator=chance).float()
    count = torch.Size(shape).numel()
    ranks = torch.randperm(count, generator=chance) - count // 2
    return (0.3 * ranks + 0.1 * torch.rand(count, generator=chance)).reshape(tuple(shape))


@composite
def selections(
    draw: Draw, complete: Bool[Tensor, "batch row region"], num_heads: int, num_kv_heads: int
) -> Selection:
    """Any valid choice among the complete regions: none of them, a few or all."""
    heads = draw(st.sampled_from(sorted({1, num_kv_heads, num_heads})))
    share, spare = draw(st.sampled_from([0.3, 0.5, 0.7, 0.0, 1.0])), draw(st.integers(0, 1))
    dice = torch.rand(complete.shape[0], heads, *complete.shape[1:], generator=generator(draw(seeds())))
    chosen = (dice < share) & complete[:, None]
    return Selection(index=index_of(chosen, spare))


def index_of(
    chosen: Bool[Tensor, "batch head row region"], spare: int = 0
) -> Int[Tensor, "batch head row slot"]:
    """The ids of what is chosen, as a `Selection` holds them, with `spare` empty slots behind."""
    count = chosen.shape[-1]
    slots = int(chosen.sum(-1).amax()) if chosen.numel() else 0
    ids = torch.where(chosen, torch.arange(count), count).sort(dim=-1).values[..., :slots]
    index = torch.nn.functional.pad(ids.masked_fill(ids == count, -1), (0, spare), value=-1)
    return index.int()


@composite
def looks(draw: Draw, sizes: Sizes, batch: int, length: int, dtype: torch.dtype = torch.float32) -> Look:
    """One layer's call with a query, a key and a value for each of `length` tokens."""
    chance = generator(draw(seeds()))
    heads = [sizes.num_heads, sizes.num_kv_heads, sizes.num_kv_heads]
    drawn = torch.randn(batch, sum(heads), length, sizes.head_dim, generator=chance, dtype=dtype)
    query, key, value = drawn.split(heads, dim=1)
    # Half of the pairs turn, so that a part of every wide head has no position; one pair at least, where there is one.
    pairs = min(sizes.head_dim // 2, 1 + sizes.head_dim // 4)
    turn = torch.arange(length, dtype=dtype)[:, None] * 10.0 ** -torch.arange(pairs, dtype=dtype)
    angle = torch.cat([turn, turn], dim=-1).expand(batch, -1, -1)
    return Look(
        query=query,
        key=key,
        value=value,
        layer=draw(st.integers(0, sizes.num_layers - 1)),
        scale=sizes.head_dim**-0.5,
        hidden=torch.randn(batch, length, sizes.hidden_dim, generator=chance, dtype=dtype),
        cos=angle.cos(),
        sin=angle.sin(),
    )


@composite
def pooling_cases(draw: Draw, model: Sizes | None = None) -> PoolingCase:
    """Looks at a whole prompt whose text scores the regions."""
    layout = draw(layouts())
    divided = draw(regions(layout))
    model = model or draw(sizes())
    query = layout.tokens.owned_by(divided.owner[:, None])
    look = replace(draw(looks(model, layout.clip.shape[0], layout.length)), tokens=query)
    return PoolingCase(layout=layout, look=look, regions=divided, rows=draw(rows(query)))


@composite
def routing_cases(
    draw: Draw,
    model: Sizes | None = None,
    distinct: bool = True,
    outside: bool | None = None,
    division: Division | None = None,
) -> RoutingCase:
    """Scores of the regions of a prompt for its rows, at any openness, in any layer.

    `outside` is as for `prompts`; `division` fixes how the prompt is divided.
    """
    layout = draw(layouts(outside=outside))
    divided = draw(regions(layout)) if division is None else divide(layout, division)
    model = model or draw(sizes())
    query = layout.tokens.owned_by(divided.owner[:, None])
    chosen_rows = draw(rows(query, max_block=2))
    complete = complete_regions(chosen_rows, divided)
    layer = draw(st.integers(0, model.num_layers - 1))
    choice = selections(complete, model.num_heads, model.num_kv_heads)
    earlier = st.one_of(choice, choice, st.none())
    view = View(
        layout=layout,
        regions=divided,
        rows=chosen_rows,
        complete=complete,
        openness=draw(st.sampled_from([0.0, 0.0, 0.0, 0.25, 0.5, 1.0])),
        layer=layer,
        scale=model.head_dim**-0.5,
        num_heads=model.num_heads,
        num_kv_heads=model.num_kv_heads,
        earlier={number: draw(earlier) for number in range(layer)},
    )
    shape = (complete.shape[0], model.num_heads, *complete.shape[1:])
    return RoutingCase(scores=draw(scores(shape, distinct=distinct)), view=view)


def keep_rules() -> st.SearchStrategy[Keeps | None]:
    """No rule, or sinks and a window: entries with a low order, and those little before the query."""
    return st.one_of(st.none(), st.builds(_sinks_and_window, st.integers(0, 2), st.integers(0, 3)))


def _sinks_and_window(sinks: int, window: int) -> Keeps:
    return lambda query, key: (
        (key.order[..., None, :] < sinks) | (query.order[..., :, None] - key.order[..., None, :] < window)
    )


@composite
def plans(
    draw: Draw,
    query: Tokens,
    divided: Regions,
    num_heads: int,
    num_kv_heads: int,
    routed: Sequence[bool] = (True, True, True, False),
) -> Plan:
    """Any way to look: dense or routed, by blocks of queries, with a rule that keeps, images confined."""
    chosen_rows = draw(rows(query, max_block=3))
    choice = selections(complete_regions(chosen_rows, divided), num_heads, num_kv_heads)
    return Plan(
        query=query,
        rows=chosen_rows,
        regions=divided,
        selection=draw(choice) if draw(st.sampled_from(routed)) else None,
        keeps=draw(keep_rules()),
        scale=draw(st.sampled_from([0.5, 1.0])),
        confined=draw(st.sampled_from(_CONFINED)),
    )


@composite
def entries(
    draw: Draw,
    known: Tokens,
    divided: Regions,
    num_kv_heads: int,
    dims: tuple[int, int],
    dtype: torch.dtype = torch.float32,
    arrangements: Sequence[bool] = (False, True, True),
) -> Entries:
    """Keys and values of these tokens: as they came or region by region, all or, per head, some evicted."""
    chance = generator(draw(seeds()))
    batch, length = known.kind.shape[0], known.length
    everything = Entries(
        key=torch.randn(batch, num_kv_heads, length, dims[0], generator=chance, dtype=dtype),
        value=torch.randn(batch, num_kv_heads, length, dims[1], generator=chance, dtype=dtype),
        tokens=known,
        position=torch.where(known.valid, torch.arange(length), -1),
    )
    heads = draw(st.sampled_from([0, num_kv_heads, num_kv_heads, 1]))
    if heads:
        stays = torch.rand(batch, heads, length, generator=chance) < 0.7
        everything = take_entries(everything, torch.where(stays, torch.arange(length), -1))
    return region_major(everything, divided) if draw(st.sampled_from(arrangements)) else everything


@composite
def attention_cases(
    draw: Draw,
    dims: Sequence[int] = (1, 3, 8),
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    max_side: int = 3,
) -> AttentionCase:
    """A whole prompt at once, its end against all that came before, or one generated token."""
    layout = draw(layouts(max_samples=2, max_pieces=3, max_side=max_side))
    stop = layout.length + draw(st.integers(0, 2))
    start = stop - 1 if stop > layout.length else draw(st.integers(0, stop - 1))
    divided, model = draw(regions(layout)), draw(sizes())
    dim = draw(st.sampled_from(list(dims)))
    known = _window(layout, divided, stop)
    stored = draw(
        entries(known, divided, model.num_kv_heads, (dim, draw(st.sampled_from([dim, *dims]))), dtype)
    )
    plan = draw(plans(known.narrow(start, stop), divided, model.num_heads, model.num_kv_heads))
    query = _queries(plan, model.num_heads, dim, dtype, draw(seeds()))
    return AttentionCase(query=query, entries=stored, plan=plan, device=str(device))


@composite
def decoding_cases(
    draw: Draw,
    dims: Sequence[int] = (1, 3, 8),
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    max_side: int = 3,
) -> AttentionCase:
    """One generated token of each sample, routed among entries that lie region by region."""
    layout = draw(layouts(max_samples=3, max_pieces=3, max_side=max_side))
    stop = layout.length + draw(st.integers(1, 2))
    divided, model = draw(regions(layout)), draw(sizes())
    dim = draw(st.sampled_from(list(dims)))
    known = _window(layout, divided, stop)
    stored = draw(entries(known, divided, model.num_kv_heads, (dim, dim), dtype, arrangements=(True,)))
    query_tokens = known.narrow(stop - 1, stop)
    plan = draw(plans(query_tokens, divided, model.num_heads, model.num_kv_heads, routed=(True,)))
    query = _queries(plan, model.num_heads, dim, dtype, draw(seeds()))
    return AttentionCase(query=query, entries=stored, plan=plan, device=str(device))


def _window(layout: TokenLayout, divided: Regions, stop: int) -> Tokens:
    """The first tokens of a sequence that goes on behind its layout, with the regions that own them."""
    owner = torch.nn.functional.pad(divided.owner, (0, max(0, stop - layout.length)), value=-1)
    return layout.window(0, stop).owned_by(owner[:, None, :stop])


def _queries(plan: Plan, num_heads: int, dim: int, dtype: torch.dtype, seed: int) -> Tensor:
    batch = plan.query.kind.shape[0]
    return torch.randn(batch, num_heads, plan.query.length, dim, generator=generator(seed), dtype=dtype)
