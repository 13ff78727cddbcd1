"""Decoding with the visual cache off the device: what is held, what moves, how long a step takes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from gazekit.attend import choose
from gazekit.bench.offload_figures import OffloadResult, OffloadShape
from gazekit.bench.residence import residence, restart_peak
from gazekit.contracts import (
    Described,
    Entries,
    Look,
    Plan,
    Regions,
    Rows,
    Selection,
    Sparing,
    Store,
    TokenLayout,
    View,
    complete_regions,
)
from gazekit.gaze.locality import locality
from gazekit.gaze.prompt import prompt_layout
from gazekit.partition import GridPartition
from gazekit.pool import MeanPooler
from gazekit.route import TopKRouter
from gazekit.store import OffloadedStore, ResidentStore

_PIECE = 4096

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, and of how much."""


@dataclass
class _Layer:
    """One layer: its store, one to compare with, descriptors, and a sum over the bits of what was written."""

    store: Store
    resident: Store | None
    described: Described | None = None
    bits: int = 0
    query: Tensor | None = None
    selections: list[Tensor] = field(default_factory=list)


@dataclass
class _Decoded:
    """What decoding came to: times by store, what attended, whether all answers were alike, bytes that a fetch made.

    `whole` counts the fetches of everything, which the pages do not.
    """

    ms: dict[str, list[float]] = field(default_factory=lambda: {"offloaded": [], "resident": []})
    backend: str = ""
    equal: bool = True
    transient: int = 0
    whole: int = 0


@dataclass(frozen=True)
class _Bench:
    """What all layers share."""

    shape: OffloadShape
    layout: TokenLayout
    regions: Regions
    layers: list[_Layer]
    chance: torch.Generator
    pool: MeanPooler = field(default_factory=MeanPooler)

    def draw(self, heads: int, count: int) -> Tensor:
        """By lot, mean 0 and variance 1; uniform, since that is drawn faster."""
        decode = self.shape.decode
        size = (decode.batch, heads, count, decode.sizes.head_dim)
        drawn = torch.rand(size, generator=self.chance, dtype=decode.dtype)
        return ((drawn - 0.5) * math.sqrt(12)).to(decode.device)

    def look(self, key: Tensor, value: Tensor, query: Tensor | None = None) -> Look:
        """A look with these keys; without a query for what does not ask."""
        sizes = self.shape.decode.sizes
        query = (
            key[:, :, :1].repeat_interleave(sizes.num_heads // sizes.num_kv_heads, 1)
            if query is None
            else query
        )
        return Look(query=query, key=key, value=value, layer=0, scale=sizes.head_dim**-0.5)


@torch.no_grad()
def bench_offload(shape: OffloadShape, progress: Progress | None = None) -> OffloadResult:
    """Fills the stores piece by piece, decodes, and counts.

    Args:
        shape: What is decoded.
        progress: Called after each piece and step.

    Raises:
        OSError: The disk has no room for the regions.
    """
    tell = progress or (lambda what, done, total: None)
    restart_peak()
    start = residence()
    bench = _empty(shape)
    times = {"fill": _timed(lambda: _fill(bench, tell))}
    decoded = _Decoded()
    times["decode"] = _timed(lambda: _decode(bench, decoded, tell))
    swept = None
    traffic = [layer.store.traffic for layer in bench.layers if isinstance(layer.store, OffloadedStore)]
    hits, misses, rows = (
        sum(int(getattr(one, name).sum()) for one in traffic) for name in ("hits", "misses", "rows")
    )
    rows += decoded.whole * shape.decode.visual * shape.decode.sizes.num_kv_heads * shape.decode.batch
    held = _held(bench)
    if shape.sweep:
        found: list[bool] = []
        times["sweep"] = _timed(lambda: found.extend(_sweep(bench, tell)))
        swept = all(found)
    decode, sizes, now = shape.decode, shape.decode.sizes, residence()
    row = 2 * sizes.head_dim * decode.dtype.itemsize
    dense = decode.visual * row * sizes.num_kv_heads * decode.batch * decode.layers
    return OffloadResult(
        tier=shape.tier, slots=shape.slots, share=decode.share, visual=decode.visual, k=decode.k, layers=decode.layers,
        steps=shape.steps, backend=decoded.backend, ms=statistics.median(decoded.ms["offloaded"]),
        resident_ms=statistics.median(decoded.ms["resident"]) if shape.compare else None,
        equal=decoded.equal if shape.compare else None, hit_rate=hits / max(1, hits + misses),
        moved_bytes=rows * row / (shape.steps * decode.layers), dense_bytes=dense, resident_bytes=held,
        transient_bytes=decoded.transient, hot_share=held["hot"] / dense,
        resident_share=(held["hot"] + held["integers"] + held["descriptors"]) / dense,
        growth={
            "peak": now.peak - start.total, "anonymous": now.anonymous - start.anonymous,
            "mapped": now.mapped - start.mapped,
        },
        swept=swept, seconds=times, locality=[locality(layer.selections, sizes.num_kv_heads) for layer in bench.layers],
    )  # fmt: skip


def _empty(shape: OffloadShape) -> _Bench:
    decode = shape.decode
    layout = prompt_layout(decode.clips, num_context=decode.context, num_text=decode.text)
    layout = layout.reorder(torch.zeros(decode.batch, dtype=torch.int64))
    layers = [
        _Layer(shape.storage(), ResidentStore() if shape.compare else None) for _ in range(decode.layers)
    ]
    regions = GridPartition(size=decode.region)(layout)
    regions = Regions(**{name: value.to(decode.device) for name, value in vars(regions).items()})
    return _Bench(shape, layout, regions, layers, torch.Generator().manual_seed(decode.seed))


def _fill(bench: _Bench, tell: Progress) -> None:
    """Prefill, as far as stores and descriptors are concerned."""
    layout, regions, decode = bench.layout, bench.regions, bench.shape.decode
    tokens = layout.tokens.to(decode.device).owned_by(regions.owner[:, None])
    pieces = range(0, layout.length, _PIECE)
    for number, begin in enumerate(pieces):
        end = min(begin + _PIECE, layout.length)
        some, owner = tokens.narrow(begin, end), tokens.owner[:, 0, begin:end]
        for layer in bench.layers:
            look = bench.look(*(bench.draw(decode.sizes.num_kv_heads, end - begin) for _ in range(2)))
            for store in filter(None, (layer.store, layer.resident)):
                store.add(look, some, regions)
            layer.described = _describe(bench, layer, look, owner)
            if bench.shape.sweep:
                member = (owner >= 0)[:, None].expand(look.key.shape[:3])
                layer.bits += _bits(look.key[member]) + _bits(look.value[member])
        tell("fill", number + 1, len(pieces))


def _describe(bench: _Bench, layer: _Layer, look: Look, owner: Tensor) -> Described:
    """The means so far: a piece may end within a region, whose mean is that of its parts by their members."""
    regions = bench.regions
    if layer.described is None:
        sizes = bench.shape.decode.sizes
        wide = torch.zeros(
            len(owner), sizes.num_kv_heads, regions.count, sizes.head_dim, device=look.key.device
        )
        layer.described = Described({"mean": wide})
    members = owner[owner >= 0]
    if len(members) == 0:
        return layer.described
    first, stop = int(members.min()), int(members.max()) + 1
    fields = {name: value[:, first:stop] for name, value in vars(regions).items() if name != "owner"}
    some = replace(regions, owner=torch.where(owner >= 0, owner - first, -1), **fields)
    fresh = bench.pool.describe(look, some).tensors["mean"]
    count = torch.zeros_like(some.size).scatter_add(1, some.owner.clamp_min(0), (owner >= 0).long())
    share = (count / some.size.clamp_min(1))[:, None, :, None]
    layer.described.tensors["mean"][:, :, first:stop].add_(fresh * share)
    return layer.described


def _decode(bench: _Bench, decoded: _Decoded, tell: Progress) -> None:
    shape, sizes = bench.shape, bench.shape.decode.sizes
    length = bench.layout.length
    query = bench.layout.extended(length + 1).tokens.narrow(length, length + 1).to(shape.decode.device)
    zero = torch.zeros_like(query.kind[:, 0])
    rows = Rows(of=zero, query=zero, first=query.order[:, 0], owner=zero - 1, document=zero)
    plan = Plan(
        query=query, rows=rows, regions=bench.regions, selection=None, keeps=None, scale=sizes.head_dim**-0.5
    )
    complete = complete_regions(rows, bench.regions)
    for step in range(shape.steps):
        for layer in bench.layers:
            fresh = bench.draw(sizes.num_heads, 1)
            old = layer.query
            layer.query = fresh if old is None else (1 - shape.drift) ** 0.5 * old + shape.drift**0.5 * fresh
            outs = {}
            stores = {"offloaded": layer.store} | ({"resident": layer.resident} if layer.resident else {})
            for name, store in stores.items():
                begun = time.perf_counter()
                chosen = _select(bench, layer, plan, complete)
                asked, outline = replace(plan, selection=chosen, memo={}), store.outline()
                backend = choose("auto", outline, asked)
                named = (
                    backend.reads(sizes.num_heads, outline, asked) if isinstance(backend, Sparing) else None
                )
                entries = store.fetch(named)
                outs[name] = backend.attend(layer.query, entries, asked)
                if shape.decode.device.startswith("cuda"):
                    torch.cuda.synchronize()
                decoded.ms[name].append(1e3 * (time.perf_counter() - begun))
                if name == "offloaded":
                    layer.selections.append(chosen.per_head(sizes.num_heads)[:, :, 0].cpu())
                    decoded.backend = type(backend).__name__.removesuffix("Backend").lower()
                    decoded.transient = _transient(layer.store, entries)
                    decoded.whole += named is None
            if layer.resident is not None and not torch.equal(outs["offloaded"], outs["resident"]):
                decoded.equal = False
        tell("decode", step + 1, shape.steps)


def _select(bench: _Bench, layer: _Layer, plan: Plan, complete: Tensor) -> Selection:
    decode = bench.shape.decode
    assert layer.query is not None, "drawn before"
    assert layer.described is not None, "filled before"
    blank = layer.query[:, : decode.sizes.num_kv_heads]
    view = View(
        layout=bench.layout, regions=bench.regions, rows=plan.rows, complete=complete, openness=0.0, layer=0,
        scale=plan.scale, num_heads=decode.sizes.num_heads, num_kv_heads=decode.sizes.num_kv_heads, earlier={},
    )  # fmt: skip
    route = TopKRouter(k=decode.k, share="group" if decode.share == "group" else "head")
    chosen = route(bench.pool.score(bench.look(blank, blank, layer.query), plan.rows, layer.described), view)
    assert chosen is not None, "the bench routes at openness 0"
    return chosen


def _transient(store: Store, entries: Entries) -> int:
    """Bytes that a fetch made: the integers of its entries, and keys and values where the buffer was too small."""
    assert isinstance(store, OffloadedStore), "of the offloaded one"
    assert entries.free is not None, "regions begin somewhere"
    made = 8 * sum(one.numel() for one in (*vars(entries.tokens).values(), entries.position))
    row = (
        entries.key.shape[3] * entries.key.element_size()
        + entries.value.shape[3] * entries.value.element_size()
    )
    per_place = entries.key.shape[0] * entries.key.shape[1] * row
    if entries.free * per_place > store.resident_bytes()["hot"]:
        made += entries.key.shape[2] * per_place
    return made


def _held(bench: _Bench) -> dict[str, int]:
    held = {"hot": 0, "free": 0, "integers": 0, "descriptors": 0}
    for layer in bench.layers:
        assert isinstance(layer.store, OffloadedStore), "of the offloaded one"
        assert layer.described is not None, "filled before"
        for name, size in layer.store.resident_bytes().items():
            held[name] += size
        held["descriptors"] += sum(t.numel() * t.element_size() for t in layer.described.tensors.values())
    return held


def _sweep(bench: _Bench, tell: Progress) -> list[bool]:
    """Brings every region in once; True for each layer whose bits add up to what was written."""
    k, count = bench.shape.decode.k, bench.regions.count
    same = []
    for number, layer in enumerate(bench.layers):
        bits = 0
        for begin in range(0, count, k):
            index = torch.arange(begin, begin + k, dtype=torch.int32, device=bench.regions.size.device)
            index = torch.where(index < count, index, -1).expand(bench.shape.decode.batch, 1, 1, -1)
            entries = layer.store.fetch(Selection(index))
            owner = entries.tokens.owner
            member = (owner >= begin) & (owner < begin + k)
            bits += _bits(entries.key[member]) + _bits(entries.value[member])
            tell("sweep", number * count + min(begin + k, count), len(bench.layers) * count)
        same.append(bits == layer.bits)
    return same


def _bits(rows: Tensor) -> int:
    """The sum of all bit patterns: equal for equal rows in any order, and almost surely for no others."""
    return int(
        rows.contiguous().view({2: torch.int16, 4: torch.int32}[rows.element_size()]).sum(dtype=torch.int64)
    )


def _timed(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
