"""What a composition costs one query: entries, FLOPs and bytes, counted from an actual layout."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import (
    Kind,
    Look,
    Partitioner,
    Plan,
    Regions,
    Rows,
    Selection,
    Sizes,
    TokenLayout,
    Tokens,
    View,
    complete_regions,
    in_view,
    reachable,
    regions_from_owner,
)
from gazekit.gaze.composition import Gaze
from gazekit.gaze.figures import Compared, Cost, KVBytes
from gazekit.gaze.prompt import stood_in

_KINDS = (Kind.VISUAL, Kind.CONTEXT, Kind.TEXT)
_TABLE = 2**20


def cost(
    gaze: Gaze | Sequence[Gaze],
    layout: TokenLayout,
    sizes: Sizes,
    *,
    bytes_per_value: int = 2,
    bytes_per_descriptor: int = 4,
    softmax_flops: int = 0,
) -> Cost:
    """Counts what the next token costs after a prompt.

    The partitioner divides the actual layout and the router chooses among the actual regions, so ragged edges and
    parts of one's own are counted as they are. The router is shown scores that put each region first equally often.
    One whose number of regions depends on the scores (by mass, by threshold) is only indicated by that: measure it.
    Branches add up, and summaries count as context. Where the layout has no segments, each image or frame is one; where
    it has no map, the map is even.

    Example:
        >>> from gazekit import Gaze, GridPartition, LearnedContext, TopKRouter
        >>> from gazekit.gaze import SHAPES, cost, prompt_layout
        >>> gaze = Gaze(partition=GridPartition(size=(1, 6, 6)), route=TopKRouter(k=20), context=LearnedContext())
        >>> cost(gaze, prompt_layout([(8, 24, 24)], num_context=4), SHAPES["qwen3-4b"]).attended
        752.0

    Args:
        gaze: A composition, or several that the layers cycle over.
        layout: One prompt; `prompt_layout` makes one of numbers.
        sizes: The decoder.
        bytes_per_value: Of keys and values: 2 in bf16.
        bytes_per_descriptor: Of each of the `head_dim` values by which a KV head's region is described; `MeanPooler`
            keeps fp32.
        softmax_flops: Added for each entry and query head, beside the 4 x `head_dim` of the two products: 5 counts
            maximum, subtraction, exponential, sum and division.

    Raises:
        ValueError: There is more than one prompt, or its context tokens are not those of the composition.
    """
    gazes = [gaze] if isinstance(gaze, Gaze) else list(gaze)
    _check(gazes, layout)
    count = [int((layout.kind == kind).sum()) for kind in _KINDS]
    layers = _look(gazes, stood_in(layout), sizes)
    per_entry = sizes.num_heads * (4 * sizes.head_dim + softmax_flops)
    seen = torch.stack([layer.seen for layer in layers])
    scored = sum(layer.scored for layer in layers)
    visual, context, text = (float(kind) for kind in seen.mean(dim=0))
    shown = next((layer for layer in layers if layer.chooses), layers[0])
    size = shown.regions.size[shown.regions.size > 0]
    return Cost(
        attended=visual + context,
        dense=count[0],
        share=(visual + context) / count[0] if count[0] else 0.0,
        visual=visual,
        context=context,
        text=text,
        regions=shown.complete,
        region_size=(int(size.min()), int(size.max())) if size.numel() else (0, 0),
        chosen=sum(layer.chosen for layer in layers) / len(layers),
        attention_flops=Compared(
            dense=float(sizes.num_layers * (count[0] + count[2]) * per_entry),
            gaze=float(seen[:, [0, 2]].sum() * per_entry),
        ),
        context_flops=float(seen[:, 1].sum() * per_entry),
        routing_flops=float(2 * sizes.head_dim * sizes.num_heads * scored),
        kv_bytes=_kv_bytes(
            seen,
            count,
            sizes,
            2 * sizes.num_kv_heads * sizes.head_dim * bytes_per_value,
            sizes.num_kv_heads * sizes.head_dim * bytes_per_descriptor * scored
            + 2
            * sizes.num_kv_heads
            * sizes.head_dim
            * bytes_per_value
            * sum(layer.summaries for layer in layers),
        ),
    )


def _kv_bytes(
    seen: Float[Tensor, "layer kind"], count: Sequence[int], sizes: Sizes, entry: int, descriptors: int
) -> KVBytes:
    """Bytes, `entry` for each entry of a layer; what several branches attend to is held and read once."""
    layers, group = sizes.num_layers, sizes.num_heads // sizes.num_kv_heads
    seen = seen.minimum(torch.tensor(count, dtype=seen.dtype))
    visual = seen[:, 0] / max(1, count[0])
    union = (1 - (1 - visual) ** group) * count[0]
    one_selection = float(seen.sum()) * entry + descriptors
    return KVBytes(
        dense=float(layers * (count[0] + count[2]) * entry),
        stored=float(layers * sum(count) * entry + descriptors),
        resident=one_selection,
        read_group=one_selection,
        read_head=float((union + seen[:, 1:].sum(dim=1)).sum()) * entry + descriptors,
    )


@dataclass(frozen=True)
class _Layer:
    """What one layer's query looks at: entries by kind, regions chosen, regions scored, regions there are.

    `chooses` says whether anything routes, `summaries` how many entries stand for regions.
    """

    seen: Float[Tensor, " kind"]
    chosen: float
    scored: int
    complete: int
    regions: Regions
    chooses: bool = False
    summaries: int = 0


def _look(gazes: Sequence[Gaze], layout: TokenLayout, sizes: Sizes) -> list[_Layer]:
    """Every layer's look, in order, since a router may use what earlier layers chose."""
    grown = layout.extended(layout.length + 1)
    divided: dict[Partitioner | None, Regions] = {}
    earlier: dict[tuple[int, int], Selection | None] = {}
    layers = []
    for number in range(sizes.num_layers):
        branches = []
        for branch, gaze in enumerate(gazes[number % len(gazes)].looks):
            if gaze.partition not in divided:
                none = torch.full_like(grown.kind, -1)
                regions = gaze.partition(grown) if gaze.partition else regions_from_owner(none, grown)
                divided[gaze.partition] = regions
            own = {layer: found for (of, layer), found in earlier.items() if of == branch}
            found, selection = _one(gaze, grown, divided[gaze.partition], sizes, number, own)
            branches.append(found)
            if gaze.route is not None:
                earlier[branch, number] = selection
        layers.append(_together(branches))
    return layers


def _together(branches: Sequence[_Layer]) -> _Layer:
    """What the branches of a layer look at, added up; regions are those of the one that looks at most of them."""
    shown = max(branches, key=lambda one: (one.chooses, one.chosen))
    return replace(
        shown,
        seen=torch.stack([one.seen for one in branches]).sum(dim=0),
        scored=sum(one.scored for one in branches),
        summaries=sum(one.summaries for one in branches),
    )


def _plan(gaze: Gaze, query: Tokens, regions: Regions, sizes: Sizes) -> Plan:
    """The query as many rows, all alike, one for each order of the regions that is tried."""
    num_rows = min(regions.count, max(1, _TABLE // max(1, regions.count)))
    number = torch.arange(num_rows)[None]
    rows = Rows(
        of=number,
        query=number,
        first=query.order[:, 0].expand(-1, num_rows),
        owner=query.owner[:, 0].expand(-1, num_rows),
        document=query.document[:, 0].expand(-1, num_rows),
    )
    return Plan(
        query=query,
        rows=rows,
        regions=regions,
        selection=None,
        keeps=None if gaze.context is None else gaze.context.keeps,
        scale=sizes.head_dim**-0.5,
        confined=gaze.confined,
    )


def _one(
    gaze: Gaze,
    layout: TokenLayout,
    regions: Regions,
    sizes: Sizes,
    layer: int,
    earlier: dict[int, Selection | None],
) -> tuple[_Layer, Selection | None]:
    """One branch's look in one layer, averaged over the rows, and what was chosen."""
    query = layout.tokens.narrow(layout.length - 1, layout.length).owned_by(regions.owner[:, None, -1:])
    plan = _plan(gaze, query, regions, sizes)
    complete = complete_regions(plan.rows, plan.regions)
    count = int(complete[:, :1].sum())
    openness = gaze.schedule(1.0, layer / max(1, sizes.num_layers - 1))
    chooses = gaze.route is not None and plan.rows.count > 0 and openness < 1
    selection = None
    if gaze.route is not None and chooses:
        view = View(
            layout=layout,
            regions=plan.regions,
            rows=plan.rows,
            complete=complete,
            openness=openness,
            layer=layer,
            scale=plan.scale,
            num_heads=1,
            num_kv_heads=1,
            earlier=earlier,
        )
        selection = gaze.route(None if gaze.pool is None else _even_scores(complete), view)
    summaries = _summaries(gaze, layout, regions, complete, sizes) if gaze.summaries else 0
    seen = _seen(replace(plan, selection=selection), layout)
    seen[_KINDS.index(Kind.CONTEXT)] += summaries
    found = _Layer(
        seen=seen,
        chosen=count if selection is None else float((selection.index >= 0).sum(-1).double().mean()),
        scored=0 if selection is None or gaze.pool is None else count,
        complete=count,
        regions=plan.regions,
        chooses=chooses,
        summaries=summaries,
    )
    return found, selection


def _summaries(gaze: Gaze, layout: TokenLayout, regions: Regions, complete: Tensor, sizes: Sizes) -> int:
    """Entries that stand for regions which the query may see, counted in what the pooler makes of one thin head."""
    if regions.count == 0:
        return 0
    pool: Any = copy.deepcopy(gaze.pool)
    thin = Sizes(num_layers=1, num_heads=1, num_kv_heads=1, head_dim=2, hidden_dim=sizes.hidden_dim)
    if hasattr(pool, "bind"):
        with torch.random.fork_rng(devices=[]):
            pool.bind(thin)
    blank = torch.zeros(1, 1, layout.length, 2)
    angle = torch.zeros(1, layout.length, 2)
    hidden = torch.zeros(1, 1, 1).expand(1, layout.length, sizes.hidden_dim)
    look = Look(
        query=blank, key=blank, value=blank, layer=0, scale=1.0, hidden=hidden, cos=angle + 1, sin=angle,
        tokens=layout.tokens.owned_by(regions.owner[:, None]),
    )  # fmt: skip
    with torch.no_grad():
        features = pool.features(look) if hasattr(pool, "features") else None
        region = pool.entries(pool.describe(replace(look, features=features), regions)).region
    ended = complete[0, 0]
    return int(ended.sum() if region is None else ended[region[0][region[0] >= 0]].sum())


def _even_scores(complete: Tensor) -> Float[Tensor, "batch 1 row region"]:
    """Scores under which every complete region comes first, second, ... in equally many rows."""
    count = int(complete[:, :1].sum())
    rank = complete.long().cumsum(-1) - 1
    rows = complete.shape[1]
    start = torch.div(torch.arange(rows) * count, rows, rounding_mode="floor")[None, :, None]
    return -((rank - start) % max(1, count)).float()[:, None]


def _seen(plan: Plan, layout: TokenLayout) -> Float[Tensor, " kind"]:
    """Entries before the query's own that it attends to, by kind, averaged over rows (and over heads)."""
    key = layout.tokens.owned_by(plan.regions.owner[:, None]).narrow(0, layout.length - 1)
    base = reachable(plan.query, key, plan.confined)[0, 0, 0].double()
    kinds = torch.stack([(key.kind[0, 0] == kind).double() for kind in _KINDS], dim=-1) * base[:, None]
    if not plan.routes:
        return kinds.sum(dim=0)
    rule = None if plan.keeps is None else plan.keeps(plan.query, key)
    kept = torch.zeros_like(base) if rule is None else rule[0, :, 0].double().mean(dim=0)
    table = in_view(replace(plan, query=_repeated(plan.query, plan.rows.count)))[0].double()
    owner = key.owner[0, 0]
    slot = torch.where(owner >= 0, owner, plan.regions.count)
    by_region = torch.zeros(plan.regions.count + 1, len(_KINDS), dtype=torch.float64)
    by_region.index_add_(0, slot, kinds * (1 - kept)[:, None])
    # Whole numbers are summed before they are divided, so that even grids give whole numbers.
    looked = table.sum(dim=(0, 1)) @ by_region / (table.shape[0] * table.shape[1])
    return looked + (kinds * kept[:, None]).sum(dim=0)


def _repeated(query: Tokens, times: int) -> Tokens:
    return query.take(torch.zeros(1, 1, times, dtype=torch.int64))


def _check(gazes: Sequence[Gaze], layout: TokenLayout) -> None:
    if not gazes:
        raise ValueError("gaze must be a composition or a list of at least one, got none")
    if layout.kind.shape[0] != 1:
        raise ValueError(f"layout must be of one prompt, got {layout.kind.shape[0]}; count them one by one")
    visual = layout.tokens.unit[:, 0][layout.kind == Kind.VISUAL]
    units, found = visual.unique().numel(), int((layout.kind == Kind.CONTEXT).sum())
    wanted = gazes[0].num_context
    if found != units * wanted:
        raise ValueError(
            f"layout must hold {wanted} context tokens for each of its {units} units, as the composition has it, got "
            f"{found} in all; build it with prompt_layout(..., num_context={wanted})"
        )
