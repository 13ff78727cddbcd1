"""What a composition costs one query: entries, FLOPs and bytes, counted from an actual layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import (
    Kind,
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

_KINDS = (Kind.VISUAL, Kind.CONTEXT, Kind.TEXT)
_TABLE = 2**20


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A figure of dense attention beside that of gaze.

    Attributes:
        dense: Of the model without gaze, and so without context tokens.
        gaze: Of the composition.
    """

    dense: float
    gaze: float

    @property
    def change(self) -> float:
        """By which share gaze differs: -0.8 = four fifths less."""
        return self.gaze / self.dense - 1 if self.dense else 0.0


@dataclass(frozen=True, kw_only=True)
class KVBytes:
    """Bytes of keys and values over all layers, for one prompt.

    Attributes:
        dense: Held, and read for each token, by dense attention.
        stored: Held by gaze where nothing is offloaded: all entries, context tokens and descriptors.
        resident: Held beside the device's weights where visual entries lie elsewhere (in CPU memory) and one selection
            of regions is brought in: those regions, text, context and descriptors. Query heads of a KV head are taken
            to choose the same regions.
        read_group: Read for each token where the query heads of a KV head choose together.
        read_head: Read for each token where each query head chooses for itself and heads of a KV head choose
            independently: of `group` heads that look at a share f each, the union is 1 - (1 - f) ** group. Heads
            that agree read less, down to `read_group`.
    """

    dense: float
    stored: float
    resident: float
    read_group: float
    read_head: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one text query costs at the end of a prompt, all layers together where not said otherwise.

    Entries are those that precede the query's own, averaged over layers; all regions are looked at equally often.

    Attributes:
        attended: Visual and context entries that the query attends to, per layer.
        dense: Visual entries that dense attention attends to, per layer.
        share: `attended / dense`: the budget.
        visual: Visual entries attended to.
        context: Context entries attended to.
        text: Text entries attended to.
        regions: Regions that may be chosen.
        region_size: Members of the smallest and of the largest region.
        chosen: Regions looked at.
        attention_flops: Of the scores and the weighted sum over visual and text entries.
        context_flops: The same over context entries.
        routing_flops: One dot product for each query head and region; 0 without a pooler.
        kv_bytes: Keys and values.
    """

    attended: float
    dense: int
    share: float
    visual: float
    context: float
    text: float
    regions: int
    region_size: tuple[int, int]
    chosen: float
    attention_flops: Compared
    context_flops: float
    routing_flops: float
    kv_bytes: KVBytes


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
    layers = _look(gazes, layout, sizes)
    per_entry = sizes.num_heads * (4 * sizes.head_dim + softmax_flops)
    seen = torch.stack([layer.seen for layer in layers])
    scored = sum(layer.scored for layer in layers)
    visual, context, text = (float(kind) for kind in seen.mean(dim=0))
    regions = layers[0].regions
    size = regions.size[regions.size > 0]
    return Cost(
        attended=visual + context,
        dense=count[0],
        share=(visual + context) / count[0] if count[0] else 0.0,
        visual=visual,
        context=context,
        text=text,
        regions=layers[0].complete,
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
            sizes.num_kv_heads * sizes.head_dim * bytes_per_descriptor * scored,
        ),
    )


def _kv_bytes(
    seen: Float[Tensor, "layer kind"], count: Sequence[int], sizes: Sizes, entry: int, descriptors: int
) -> KVBytes:
    """Bytes, `entry` for each entry of a layer."""
    layers, group = sizes.num_layers, sizes.num_heads // sizes.num_kv_heads
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
    """What one layer's query looks at: entries by kind, regions chosen, regions scored, regions there are."""

    seen: Float[Tensor, " kind"]
    chosen: float
    scored: int
    complete: int
    regions: Regions


def _look(gazes: Sequence[Gaze], layout: TokenLayout, sizes: Sizes) -> list[_Layer]:
    """Every layer's look, in order, since a router may use what earlier layers chose."""
    grown = layout.extended(layout.length + 1)
    query = grown.tokens.narrow(layout.length, layout.length + 1)
    divided = {}
    earlier: dict[int, Selection | None] = {}
    layers = []
    for number in range(sizes.num_layers):
        gaze = gazes[number % len(gazes)]
        if gaze.partition not in divided:
            none = torch.full_like(grown.kind, -1)
            regions = gaze.partition(grown) if gaze.partition else regions_from_owner(none, grown)
            divided[gaze.partition] = regions
        regions = divided[gaze.partition]
        plan = _plan(gaze, grown, query.owned_by(regions.owner[:, None, -1:]), regions, sizes)
        layers.append(_one(gaze, grown, plan, number, earlier))
    return layers


def _plan(gaze: Gaze, layout: TokenLayout, query: Tokens, regions: Regions, sizes: Sizes) -> Plan:
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
    gaze: Gaze, layout: TokenLayout, plan: Plan, layer: int, earlier: dict[int, Selection | None]
) -> _Layer:
    """One layer's look, averaged over the rows."""
    complete = complete_regions(plan.rows, plan.regions)
    count = int(complete[:, :1].sum())
    openness = gaze.schedule(1.0)
    selection = None
    if gaze.route is not None and plan.rows.count and openness < 1:
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
            earlier=dict(earlier),
        )
        selection = gaze.route(None if gaze.pool is None else _even_scores(complete), view)
    if gaze.route is not None:
        earlier[layer] = selection
    return _Layer(
        seen=_seen(replace(plan, selection=selection), layout),
        chosen=count if selection is None else float((selection.index >= 0).sum(-1).double().mean()),
        scored=0 if selection is None or gaze.pool is None else count,
        complete=count,
        regions=plan.regions,
    )


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
    wanted = 0 if gazes[0].context is None else gazes[0].context.num_tokens
    if found != units * wanted:
        raise ValueError(
            f"layout must hold {wanted} context tokens for each of its {units} units, as the composition has it, got "
            f"{found} in all; build it with prompt_layout(..., num_context={wanted})"
        )
