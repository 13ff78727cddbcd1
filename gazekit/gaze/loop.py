"""The loop of one layer: describe, score, route, attend."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.attend import choose
from gazekit.contracts import Backend, Described, Entries, Look, Plan, Rows, Selection, tokens_at
from gazekit.gaze.composition import Gaze
from gazekit.gaze.describe import align, describe, keep_features, known, with_summaries
from gazekit.gaze.forward import Division, ForwardPass
from gazekit.gaze.memory import LayerMemory
from gazekit.gaze.route import Routed, attach, detached, grad_enabled, route
from gazekit.gaze.supply import Supply


def look_once(look: Look, gaze: Gaze, forward: ForwardPass) -> Float[Tensor, "batch head query value_dim"]:
    """Attention of one layer over text, context and the regions that each row chooses.

    `look.key` and `look.value` align with the queries where the layer has a memory, else with the whole sequence so
    far (and whatever lies behind it counts as padding).

    Source: Song et al. (2026), equations 2 to 4.
    """
    memory = forward.memory.get(look.layer)
    divisions = [forward.division(one) for one in gaze.looks]
    if memory is not None:
        memory.awaiting = False
        memory.store.add(look, divisions[0].tokens, divisions[0].regions)
    outs, plans = [], []
    for branch, one in enumerate(gaze.looks):
        laid_out = branch == 0 or one.partition == gaze.looks[0].partition
        out, plan = _look(look, one, branch, divisions[branch], forward, memory, laid_out)
        outs.append(out)
        plans.append(plan)
    if forward.eviction is not None and memory is not None:
        memory.store.keep(forward.eviction.decide(look, memory.store.entries(), plans[0]))
    return outs[0] if gaze.combine is None else gaze.combine(look, outs)


def _look(
    look: Look,
    gaze: Gaze,
    branch: int,
    division: Division,
    forward: ForwardPass,
    memory: LayerMemory | None,
    laid_out: bool,
) -> tuple[Float[Tensor, "batch head query value_dim"], Plan]:
    """Attention of one branch, and how it looked; `laid_out` as its partition divides is the store, or not."""
    supply = Supply(look, gaze.partition, division, forward, memory, laid_out)
    described, routed = _choose(look, gaze, branch, division, supply, forward, memory)
    plan = Plan(
        query=division.tokens,
        rows=division.rows,
        regions=division.regions,
        selection=routed.selection,
        keeps=gaze.context.keeps if gaze.context is not None else None,
        scale=look.scale,
        confined=gaze.confined,
        tracked=torch.is_grad_enabled() and look.query.requires_grad,
    )
    outline, parts, backends = supply.outline, [], []
    for index, one in _parts(plan, division):
        use = _use(gaze, outline, one)
        backends.append(_backend(use, gaze, outline, one, forward))
        # What a backend keeps for other layers goes along.
        parts.append((index, one.noting(forward.memos.setdefault(use, {}))))
    summary = gaze.pool.entries(described) if gaze.summaries and described is not None else None
    beyond = 0 if summary is None else summary.key.shape[2]
    entries = supply.of(_named(look, outline, beyond, backends, [one for _, one in parts]))
    if summary is not None:
        entries = with_summaries(entries, summary, division.regions)
    if forward.trace is not None:
        heads = look.query.shape[1]
        forward.trace.record(look.layer, forward.start, plan, entries, heads, branch, routed.mass)
    out = _attend(look.query, entries, parts, backends, division)
    return attach(out, routed.loss, 0.0 if gaze.loss is None else gaze.loss.weight), plan


def _choose(
    look: Look,
    gaze: Gaze,
    branch: int,
    division: Division,
    supply: Supply,
    forward: ForwardPass,
    memory: LayerMemory | None,
) -> tuple[Described | None, Routed]:
    """Descriptors and what was chosen by them; both with a graph where summaries or a loss are to learn."""
    trains = torch.is_grad_enabled() and memory is None
    learns = trains and gaze.loss is not None
    if gaze.route is None and not gaze.summaries and not learns:
        return None, Routed()
    apart = learns and gaze.loss is not None and gaze.loss.detach
    with grad_enabled(learns or (trains and gaze.summaries)):
        kept = keep_features(look, gaze, branch, forward, memory)
        if division.regions.count == 0:
            return None, Routed()
        described, seen = known(gaze, branch, division, memory), look
        if described is None:
            entries = supply.everything
            seen = align(look, kept, entries)
            blind = seen
            if apart:
                shut = replace(entries, key=entries.key.detach(), value=entries.value.detach())
                still = detached(look)
                blind = align(still, keep_features(still, gaze, branch, forward, memory), shut)
            described = describe(blind, gaze, branch, division, entries, memory)
        routed = route(look, seen, gaze, branch, division, supply, described, forward, learns)
        if apart and gaze.summaries:
            described = describe(seen, gaze, branch, division, supply.everything, memory)
    return described, routed


def _parts(plan: Plan, division: Division) -> list[tuple[Int[Tensor, "batch _"] | None, Plan]]:
    """Routing and dense queries apart, since dense ones share one mask among all heads; None = all queries."""
    if plan.selection is None or division.all_route:
        return [(None, plan)]
    return [
        (index, replace(plan, query=tokens, rows=_rows_at(plan.rows, index), selection=chosen))
        for index, tokens, chosen in (
            (division.routing, division.routing_tokens, plan.selection),
            (division.dense, division.dense_tokens, None),
        )
        if index.shape[1] > 0
    ]


def _named(
    look: Look, outline: Entries, beyond: int, backends: list[Backend], plans: list[Plan]
) -> Selection | None:
    """The regions that backends read; None = one of them reads all. There are summaries `beyond` the entries."""
    if len(backends) != 1:
        return None
    # A method that a backend may leave out (`contracts.Sparing`).
    reads = getattr(backends[0], "reads", None)
    if reads is None:
        return None
    outline = replace(outline, stored=outline.key.shape[2] + beyond)
    named: Selection | None = reads(look.query.shape[1], outline, plans[0])
    return named


def _attend(
    query: Float[Tensor, "batch head query dim"],
    entries: Entries,
    parts: list[tuple[Int[Tensor, "batch _"] | None, Plan]],
    backends: list[Backend],
    division: Division,
) -> Float[Tensor, "batch head query value_dim"]:
    """Attends part by part."""
    outs = [
        backend.attend(query if index is None else tokens_at(query, index), entries, plan)
        for backend, (index, plan) in zip(backends, parts, strict=True)
    ]
    if parts[0][0] is None:
        return outs[0]
    if query.shape[0] == 1:
        return _put(outs, [index for index, _ in parts if index is not None], query.shape[2])
    return _merge(outs, division.back)


def _rows_at(rows: Rows, index: Int[Tensor, "batch query"]) -> Rows:
    """The rows with their queries counted along `index`."""
    of = rows.of.gather(1, index.clamp_min(0)).masked_fill(index < 0, -1)
    return replace(rows, of=of)


def _put(
    parts: list[Float[Tensor, "1 head _ value_dim"]], indices: list[Int[Tensor, "1 _"]], length: int
) -> Float[Tensor, "1 head query value_dim"]:
    """What `_merge` gives for one sample, whose indices have no padding: each answer is copied once."""
    _, heads, _, dim = parts[0].shape
    whole = sum(part.shape[2] for part in parts) == length
    make = parts[0].new_empty if whole else parts[0].new_zeros
    out = make(1, heads, length, dim)
    for part, index in zip(parts, indices, strict=True):
        out.index_copy_(2, index[0], part)
    return out


def _merge(
    parts: list[Float[Tensor, "batch head _ value_dim"]], back: Int[Tensor, "batch query"]
) -> Float[Tensor, "batch head query value_dim"]:
    """Puts the answers back in the order of the queries; padding gets zeros."""
    blank = parts[0].new_zeros(*parts[0].shape[:2], 1, parts[0].shape[3])
    return tokens_at(torch.cat([*parts, blank], dim=2), back)


def _use(gaze: Gaze, outline: Entries, plan: Plan) -> tuple[object, ...]:
    """What calls of a forward have in common that one backend serves.

    Layers may differ in it: in how many heads choose, and, where the first ones are frozen, in what autograd follows.
    """
    choosing = None if plan.selection is None else plan.selection.index.shape[1]
    return (
        gaze.backend, gaze.partition, gaze.rows, gaze.context, gaze.confined, gaze.summaries,
        plan.query.length, choosing, outline.begin is None, plan.regions.count,
        plan.tracked, outline.key.requires_grad, outline.value.requires_grad,
    )  # fmt: skip


def _backend(
    use: tuple[object, ...], gaze: Gaze, outline: Entries, plan: Plan, forward: ForwardPass
) -> Backend:
    """The backend for this use, asked for once per forward."""
    found = forward.backends.get(use)
    if found is None:
        found = forward.backends[use] = choose(gaze.backend, outline, plan)
        if forward.trace is not None:
            forward.trace.backends.add(type(found).__name__)
    return found
