"""What is computed once per forward and shared by all layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.contracts import (
    Backend,
    Entries,
    Kind,
    Look,
    Partitioner,
    Plan,
    Regions,
    Rows,
    Selection,
    TokenLayout,
    Tokens,
    complete_regions,
)
from gazekit.gaze.composition import Gaze
from gazekit.gaze.memory import LayerMemory
from gazekit.gaze.trace import GazeTrace


@runtime_checkable
class Eviction(Protocol):
    """Decides once which entries of a layer are kept."""

    def decide(self, look: Look, entries: Entries, plan: Plan) -> Int[Tensor, "batch #kv_head entry"]:
        """Entries to keep, -1 = none; the others are dropped for good."""


class Divisions(dict[Partitioner, tuple[int, Regions]]):
    """The regions of a prompt by partitioner, each with the length of the layout that it divides.

    A cache keeps them, so that a prompt is divided once and not at every decoding step.
    """


@dataclass(frozen=True)
class Division:
    """What a forward's queries and regions are to one composition.

    Attributes:
        regions: The division of the whole layout.
        tokens: The queries, with the region that owns each.
        rows: What routes.
        complete: True = this row may choose this region.
        routing: Queries that route, ascending; -1 = padding.
        dense: Real queries that do not route, ascending; -1 = padding.
        routing_tokens: What those are that route.
        dense_tokens: What the others are.
        back: The place of each query among `routing` and then `dense`; one behind both for padding.
        completed: True = the region's last member is among the queries of this forward; None = no region's is.
    """

    regions: Regions
    tokens: Tokens
    rows: Rows
    complete: Bool[Tensor, "batch row region"]
    routing: Int[Tensor, "batch routing"]
    dense: Int[Tensor, "batch other"]
    routing_tokens: Tokens
    dense_tokens: Tokens
    back: Int[Tensor, "batch query"]
    completed: Bool[Tensor, "batch region"] | None

    @property
    def all_route(self) -> bool:
        """True = every query routes."""
        return self.dense.shape[1] == 0 and self.routing.shape[1] == self.tokens.length


@dataclass
class ForwardPass:
    """One forward through all layers.

    Attributes:
        layout: The layout as declared, with generated text up to the last query where that lies beyond.
        declared: Length of the layout without generated text.
        start: Sequence index of the first query.
        stop: One past that of the last query.
        openness: 1 = dense ... 0 = the target, one for all layers or one for each; None = where the schedule of each
            layer ends.
        num_layers: Decoder layers.
        memory: What each layer keeps between forwards; empty without a region cache.
        trace: Records what was looked at; None = nobody watches.
        known: Divisions that an earlier forward made.
        eviction: Drops entries of each layer after this forward; None = nothing is dropped.
        selections: What the layers so far have selected, by branch and layer, and among which regions; None = all.
        backends: The backends chosen in this forward, by use.
        memos: What backends keep for the layers to come, by use.
        sequences: What each entry is and its place, where there is no region cache, by division and length.
    """

    layout: TokenLayout
    declared: int
    start: int
    stop: int
    openness: float | Sequence[float] | None
    num_layers: int
    memory: dict[int, LayerMemory]
    trace: GazeTrace | None
    known: Divisions
    eviction: Eviction | None = None
    selections: dict[tuple[int, int], tuple[Division, Selection | None]] = field(default_factory=dict)
    backends: dict[object, Backend] = field(default_factory=dict)
    memos: dict[object, dict[str, Any]] = field(default_factory=dict)
    sequences: dict[object, tuple[Tokens, Tensor]] = field(default_factory=dict)
    divisions: dict[object, Division] = field(default_factory=dict)

    def openness_of(self, gaze: Gaze, layer: int) -> float:
        """Openness for a layer and its composition."""
        if self.openness is None:
            return gaze.schedule(1.0, layer / max(1, self.num_layers - 1))
        return self.openness[layer] if isinstance(self.openness, Sequence) else self.openness

    def division(self, gaze: Gaze) -> Division:
        """Regions and rows for a composition, computed once for all layers that share them."""
        key = (gaze.partition, gaze.routing_kinds, gaze.rows)
        if key not in self.divisions:
            self.divisions[key] = self._divide(gaze)
        return self.divisions[key]

    def _divide(self, gaze: Gaze) -> Division:
        regions = self.regions_of(gaze.partition)
        window = self.layout.tokens.narrow(self.start, self.stop)
        tokens = window.owned_by(regions.owner[:, None, self.start : self.stop])
        routes = torch.zeros_like(tokens.kind[:, 0], dtype=torch.bool)
        for kind in gaze.routing_kinds:
            routes |= tokens.kind[:, 0] == kind
        rows = rows_of(tokens, routes, self._blocks(gaze))
        routing, dense = _indices(routes), _indices(tokens.valid[:, 0] & ~routes)
        return Division(
            regions=regions,
            tokens=tokens,
            rows=rows,
            complete=complete_regions(rows, regions),
            routing=routing,
            dense=dense,
            routing_tokens=tokens.take(routing[:, None]),
            dense_tokens=tokens.take(dense[:, None]),
            back=_places(torch.cat([routing, dense], dim=1), tokens.length),
            completed=_completed(tokens, regions),
        )

    def _blocks(self, gaze: Gaze) -> Int[Tensor, "batch query"] | None:
        """The block of each query, -1 = its own; None where queries choose alone."""
        if gaze.rows is None or self.stop - self.start == 1:
            return None
        return self.regions_of(gaze.rows).owner[:, self.start : self.stop]

    def regions_of(self, partition: Partitioner | None) -> Regions:
        """The regions of the layout so far; those of visual tokens are kept while only text follows."""
        if partition is None:
            return _no_regions(self.layout)
        want = self.layout.length if Kind.TEXT in partition.kinds else self.declared
        length, regions = self.known.get(partition, (-1, None))
        if regions is None or length != want or regions.owner.shape[0] != self.layout.kind.shape[0]:
            regions = partition(self.layout)
            self.known[partition] = (want, regions)
        short = self.layout.length - regions.owner.shape[1]
        return (
            regions.aligned(torch.nn.functional.pad(regions.owner, (0, short), value=-1))
            if short
            else regions
        )


def rows_of(
    tokens: Tokens,
    routes: Bool[Tensor, "batch query"],
    block: Int[Tensor, "batch query"] | None = None,
) -> Rows:
    """One row for each query that routes, or for each block of them; a query of no block (-1) is a row of its own."""
    if block is None:
        query, of = _indices(routes), torch.where(routes, routes.cumsum(dim=1) - 1, -1)
    else:
        place = torch.arange(tokens.length, device=block.device).expand_as(block)
        count = int(block.max()) + 1 if block.numel() else 0
        slot = torch.where(routes & (block >= 0), block, count)
        firsts = torch.full((block.shape[0], count + 1), tokens.length, device=block.device)
        firsts = firsts.scatter_reduce(1, slot, place, reduce="amin")
        leader = torch.where(slot < count, firsts.gather(1, slot), place)
        leads = routes & (leader == place)
        of = (leads.cumsum(dim=1) - 1).gather(1, leader).masked_fill(~routes, -1)
        query = _indices(leads)
    taken = tokens.take(query[:, None])
    return Rows(
        of=of, query=query, first=taken.order[:, 0], owner=taken.owner[:, 0], document=taken.document[:, 0],
        blocks=block is not None,
    )  # fmt: skip


def _completed(tokens: Tokens, regions: Regions) -> Bool[Tensor, "batch region"] | None:
    """The regions whose last member is among `tokens`."""
    owner, order = tokens.owner[:, 0], tokens.order[:, 0]
    if regions.count == 0 or not bool((owner >= 0).any()):
        return None
    last = (owner >= 0) & (order == regions.last.gather(1, owner.clamp_min(0)))
    table = torch.zeros(owner.shape[0], regions.count + 1, dtype=torch.bool, device=owner.device)
    done = table.scatter(1, torch.where(last, owner, regions.count), True)[:, :-1]
    return done if bool(done.any()) else None


def _indices(chosen: Bool[Tensor, "batch query"]) -> Int[Tensor, "batch index"]:
    """Ascending indices of the True, padded with -1."""
    counts = chosen.sum(dim=1)
    most = int(counts.max()) if counts.numel() else 0
    order = chosen.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
    return torch.where(torch.arange(most, device=chosen.device) < counts[:, None], order, -1)


def _places(index: Int[Tensor, "batch index"], length: int) -> Int[Tensor, "batch query"]:
    """Where each query stands in an index, -1 in which is none; one behind its end for those that do not."""
    slot = torch.arange(index.shape[1], device=index.device).expand_as(index)
    place = torch.full((index.shape[0], length + 1), index.shape[1], device=index.device)
    return place.scatter(1, torch.where(index >= 0, index, length), slot)[:, :length]


def _no_regions(layout: TokenLayout) -> Regions:
    """The division of a layout that is not divided."""
    batch, device = layout.kind.shape[0], layout.kind.device
    none = torch.empty(batch, 0, dtype=torch.int64, device=device)
    return Regions(
        owner=torch.full_like(layout.kind, -1),
        size=none,
        first=none,
        last=none,
        unit=none,
        document=none,
        ordinal=none,
        box=torch.empty(batch, 0, 3, 2, dtype=torch.int64, device=device),
    )
