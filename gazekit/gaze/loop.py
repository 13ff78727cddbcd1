"""The loop of one layer: describe, score, route, attend."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.attend import choose
from gazekit.contracts import (
    Backend,
    Described,
    Entries,
    Look,
    Plan,
    Rows,
    Selection,
    View,
)
from gazekit.gaze.composition import Gaze
from gazekit.gaze.forward import Division, ForwardPass, LayerMemory

_SCORE_BYTES = 256 * 2**20


def look_once(look: Look, gaze: Gaze, forward: ForwardPass) -> Float[Tensor, "batch head query value_dim"]:
    """Attention of one layer over text, context and the regions that each row chooses.

    `look.key` and `look.value` align with the queries where the layer has a memory, else with the whole sequence so
    far (and whatever lies behind it counts as padding).

    Source: Song et al. (2026), equations 2 to 4.
    """
    division = forward.division(gaze)
    memory = forward.memory.get(look.layer)
    entries = _entries(look, division, forward, memory)
    selection = _route(look, gaze, forward, division, entries, memory)
    plan = Plan(
        query=division.tokens,
        rows=division.rows,
        regions=division.regions,
        selection=selection,
        keeps=gaze.context.keeps if gaze.context is not None else None,
        scale=look.scale,
        confined=gaze.confined,
    )
    if memory is not None:
        entries, selection = memory.store.fetch(selection)
        plan = replace(plan, selection=selection)
    if forward.trace is not None:
        forward.trace.record(look.layer, forward.start, plan, entries, look.query.shape[1])
    out = _attend(look.query, entries, plan, division, gaze, forward)
    if forward.eviction is not None and memory is not None:
        memory.store.keep(forward.eviction.decide(look, entries, plan))
    return out


def _entries(look: Look, division: Division, forward: ForwardPass, memory: LayerMemory | None) -> Entries:
    """What there is to attend to: the store's entries, or the sequence as it stands."""
    if memory is not None:
        memory.awaiting = False
        memory.store.add(look, division.tokens, division.regions)
        return memory.store.entries()
    length = look.key.shape[2]
    within = torch.arange(length, device=look.key.device)
    index = torch.where(within < forward.stop, within, -1).expand(look.key.shape[0], 1, -1)
    tokens = forward.layout.tokens.owned_by(division.regions.owner[:, None]).take(index)
    return Entries(key=look.key, value=look.value, tokens=tokens, position=index)


def _route(
    look: Look,
    gaze: Gaze,
    forward: ForwardPass,
    division: Division,
    entries: Entries,
    memory: LayerMemory | None,
) -> Selection | None:
    """What each row looks at, scored and routed in chunks of rows; None = every region."""
    if gaze.route is None or division.regions.count == 0:
        return None
    described = _describe(look, gaze, division, entries, memory)
    openness = forward.openness_of(gaze)
    if division.rows.count == 0 or openness >= 1.0:
        return None
    batch, heads = look.query.shape[:2]
    step = max(1, _SCORE_BYTES // (32 * batch * heads * division.regions.count))
    chunks = []
    for start in range(0, division.rows.count, step):
        rows = division.rows.narrow(start, start + step)
        view = View(
            layout=forward.layout,
            regions=division.regions,
            rows=rows,
            complete=division.complete[:, start : start + step],
            openness=openness,
            layer=look.layer,
            scale=look.scale,
            num_heads=heads,
            num_kv_heads=look.key.shape[1],
            earlier={
                n: Selection(s.index[:, :, start : start + step]) for n, s in forward.selections.items()
            },
        )
        with torch.no_grad():
            scores = (
                None if described is None or gaze.pool is None else gaze.pool.score(look, rows, described)
            )
            chosen = gaze.route(scores, view)
        if chosen is None:
            return None
        chunks.append(chosen.index)
    selection = Selection(torch.cat(chunks, dim=2))
    forward.selections[look.layer] = selection
    return selection


def _describe(
    look: Look, gaze: Gaze, division: Division, entries: Entries, memory: LayerMemory | None
) -> Described | None:
    """Descriptors of all complete regions; with a memory each is made once, when its last member has come."""
    if gaze.pool is None:
        return None
    known = None if memory is None else memory.described
    regions = division.regions
    if known is not None and division.completed is None and known.count == regions.count:
        return known
    seen = replace(look, key=entries.key, value=entries.value)
    with torch.no_grad():
        described = gaze.pool.describe(seen, regions.aligned(entries.tokens.owner[:, 0]))
    if known is not None:
        none = torch.zeros_like(regions.size, dtype=torch.bool)
        described = described.where(none if division.completed is None else division.completed, known)
    if memory is not None:
        memory.described = described
    return described


def _attend(
    query: Float[Tensor, "batch head query dim"],
    entries: Entries,
    plan: Plan,
    division: Division,
    gaze: Gaze,
    forward: ForwardPass,
) -> Float[Tensor, "batch head query value_dim"]:
    """Attends with routing and dense queries apart, since dense ones share one mask among all heads."""
    if plan.selection is None or division.all_route:
        return _backend(gaze, entries, plan, forward).attend(query, entries, plan)
    parts = []
    for index, selection in ((division.routing, plan.selection), (division.dense, None)):
        if index.shape[1] == 0:
            continue
        some = replace(
            plan, query=plan.query.take(index[:, None]), rows=_rows_at(plan.rows, index), selection=selection
        )
        parts.append(_backend(gaze, entries, some, forward).attend(_take(query, index), entries, some))
    return _merge(parts, division, query.shape[2])


def _rows_at(rows: Rows, index: Int[Tensor, "batch query"]) -> Rows:
    """The rows with their queries counted along `index`."""
    of = rows.of.gather(1, index.clamp_min(0)).masked_fill(index < 0, -1)
    return replace(rows, of=of)


def _take(query: Float[Tensor, "batch head query dim"], index: Int[Tensor, "batch new"]) -> Tensor:
    """The queries at `index`; some query where it is -1, which the plan knows as padding."""
    where = index.clamp_min(0)[:, None, :, None].expand(-1, query.shape[1], -1, query.shape[3])
    return query.gather(2, where)


def _merge(
    parts: list[Float[Tensor, "batch head _ value_dim"]], division: Division, length: int
) -> Float[Tensor, "batch head query value_dim"]:
    """Puts the answers back in the order of the queries; padding gets zeros."""
    blank = parts[0].new_zeros(*parts[0].shape[:2], 1, parts[0].shape[3])
    joined = torch.cat([*parts, blank], dim=2)
    index = torch.cat([division.routing, division.dense], dim=1)
    place = torch.full(
        (index.shape[0], length + 1), joined.shape[2] - 1, dtype=torch.int64, device=index.device
    )
    slot = torch.arange(index.shape[1], device=index.device).expand_as(index)
    place = place.scatter(1, torch.where(index >= 0, index, length), slot)[:, :length]
    return joined.gather(2, place[:, None, :, None].expand(-1, joined.shape[1], -1, joined.shape[3]))


def _backend(gaze: Gaze, entries: Entries, plan: Plan, forward: ForwardPass) -> Backend:
    """The backend for this use, asked for once per forward."""
    use = (gaze.backend, plan.query.length, plan.selection is None, entries.begin is None, plan.regions.count)
    if use not in forward.backends:
        forward.backends[use] = choose(gaze.backend, entries, plan)
    return forward.backends[use]
