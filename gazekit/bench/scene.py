"""One decoding step of several layers, with keys and values by lot, as the loop has it before it attends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.attend import choose
from gazekit.contracts import (
    Backend,
    Described,
    Entries,
    Look,
    Plan,
    Pooler,
    Regions,
    Router,
    Rows,
    Selection,
    TokenLayout,
    Tokens,
    View,
    complete_regions,
)
from gazekit.gaze.prompt import Clip, prompt_layout
from gazekit.partition import GridPartition
from gazekit.pool import MeanPooler
from gazekit.store import ResidentStore

_GRID = (24, 24)


@dataclass(frozen=True)
class Layer:
    """What one layer holds, and its query.

    Attributes:
        store: Keys and values, region by region.
        look: The layer's call, with the query of the token that is being generated.
        described: What the pooler knows of the regions.
        key: The same keys in the order of the prompt, as a dense cache has them.
        value: Likewise.
    """

    store: ResidentStore
    look: Look
    described: Described
    key: Float[Tensor, "batch kv_head entry dim"]
    value: Float[Tensor, "batch kv_head entry dim"]

    @property
    def query(self) -> Float[Tensor, "batch head 1 dim"]:
        """Of the token that is being generated."""
        return self.look.query


@dataclass(frozen=True)
class Scene:
    """A decoding step. Built by `scene_of`.

    Attributes:
        layout: The prompt.
        regions: Its division.
        pool: Scores regions.
        route: Chooses among them.
        layers: As many as are gone through.
        kv_heads: Heads of keys and values.
        scale: Factor on the logits.
        backends: Those that were chosen, by name.
    """

    layout: TokenLayout
    regions: Regions
    pool: Pooler
    route: Router
    layers: list[Layer]
    kv_heads: int
    scale: float
    backends: dict[str, Backend] = field(default_factory=dict)

    @cached_property
    def query(self) -> Tokens:
        """The token that is being generated."""
        return self.layout.extended(self.layout.length + 1).tokens.narrow(
            self.layout.length, self.layout.length + 1
        )

    @cached_property
    def rows(self) -> Rows:
        """Its row: one of each sample."""
        zero = torch.zeros_like(self.query.kind[:, 0])
        return Rows(of=zero, query=zero, first=self.query.order[:, 0], owner=zero - 1, document=zero)

    @cached_property
    def _complete(self) -> Tensor:
        return complete_regions(self.rows, self.regions)

    def select(self, number: int) -> Selection | None:
        """Scores and routes in a layer."""
        layer = self.layers[number]
        look = layer.look
        view = View(
            layout=self.layout, regions=self.regions, rows=self.rows, complete=self._complete, openness=0.0,
            layer=number, scale=self.scale, num_heads=look.query.shape[1], num_kv_heads=self.kv_heads, earlier={},
        )  # fmt: skip
        return self.route(self.pool.score(look, self.rows, layer.described), view)

    def plan(self, selection: Selection | None) -> Plan:
        """How the query looks."""
        return Plan(
            query=self.query,
            rows=self.rows,
            regions=self.regions,
            selection=selection,
            keeps=None,
            scale=self.scale,
        )

    def entries(self, number: int) -> Entries:
        """What a layer holds."""
        return self.layers[number].store.entries()

    def step(self, backend: str, number: int) -> Float[Tensor, "batch head 1 dim"]:
        """Scores, routes and attends in a layer; the backend is chosen once, as once a forward."""
        plan, entries = self.plan(self.select(number)), self.entries(number)
        if backend not in self.backends:
            self.backends[backend] = choose(backend, entries, plan)
        return self.backends[backend].attend(self.layers[number].query, entries, plan)


def clips_of(visual: int) -> list[Clip]:
    """Frames of 24 x 24 that make so many visual tokens, and what is left over as rows."""
    rows, columns = _GRID
    frames, left = divmod(visual, rows * columns)
    whole, rest = divmod(left, columns)
    clips = [(frames, rows, columns), (1, whole, columns), (1, 1, rest)]
    return [clip for clip in clips if min(clip) > 0]


def scene_of(
    clips: list[Clip],
    *,
    num_context: int,
    num_text: int,
    batch: int,
    heads: int,
    kv_heads: int,
    dim: int,
    num_layers: int,
    partition_size: tuple[int, int, int],
    route: Router,
    dtype: torch.dtype,
    device: str,
    seed: int,
) -> Scene:
    """A scene by lot: queries, keys and values are independent and normal, the worst case for what heads share."""
    layout = prompt_layout(clips, num_context=num_context, num_text=num_text)
    layout = layout_on(layout.reorder(torch.zeros(batch, dtype=torch.int64)), device)
    regions = GridPartition(size=partition_size)(layout)
    tokens = layout.tokens.owned_by(regions.owner[:, None])
    generator = torch.Generator().manual_seed(seed)
    pool, scale = MeanPooler(), dim**-0.5

    def draw(count: int, length: int) -> Tensor:
        """By lot, head by head: a million entries of all heads in fp32 would be as much as what is measured."""
        drawn = [torch.randn(batch, 1, length, dim, generator=generator).to(dtype) for _ in range(count)]
        return torch.cat(drawn, dim=1).to(device)

    layers = []
    for number in range(num_layers):
        look = Look(
            query=draw(heads, 1), key=draw(kv_heads, layout.length), value=draw(kv_heads, layout.length),
            layer=number, scale=scale,
        )  # fmt: skip
        store = ResidentStore()
        store.add(look, tokens, regions)
        asking = replace(look, key=look.key[:, :, -1:], value=look.value[:, :, -1:])
        described = _describe(pool, look, regions)
        layers.append(Layer(store, asking, described, key=look.key, value=look.value))
    return Scene(
        layout=layout, regions=regions, pool=pool, route=route, layers=layers, kv_heads=kv_heads, scale=scale
    )


def _describe(pool: MeanPooler, look: Look, regions: Regions) -> Described:
    """What the pooler makes of all heads, one after another for the sake of memory."""
    pairs = zip(look.key.split(1, dim=1), look.value.split(1, dim=1), strict=True)
    heads = (replace(look, key=key, value=value) for key, value in pairs)
    described = [pool.describe(head, regions).tensors for head in heads]
    return Described({name: torch.cat([each[name] for each in described], dim=1) for name in described[0]})


def layout_on(layout: TokenLayout, device: str) -> TokenLayout:
    """The same layout on another device."""
    return TokenLayout.unpack(layout.pack().to(device))
