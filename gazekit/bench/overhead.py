"""What composition costs: a layer made of parts beside the same computation written as one function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.attend import choose
from gazekit.bench.timing import interleaved
from gazekit.contracts import Entries, Look, Plan, Selection, Sizes
from gazekit.gaze import ForwardPass, Gaze, LayerMemory, prompt_layout
from gazekit.gaze.forward import Division, Divisions
from gazekit.gaze.loop import look_once
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from gazekit.store import ResidentStore

_SIDE, _REGION = 24, 6


@dataclass(frozen=True, kw_only=True)
class OverheadShape:
    """What is computed: units of 24 x 24 tokens in regions of 36, then text; each head looks at `k` regions.

    Attributes:
        sizes: The decoder.
        units: Units.
        text: Text tokens.
        k: Regions that a query of a head looks at.
        layers: Layers gone through in turn, each with keys and values of its own.
        dtype: Of queries, keys and values.
        seed: Of the lot that they are drawn by.

    Raises:
        ValueError: A number is below 1, or more regions are looked at than there are.
    """

    sizes: Sizes
    units: int
    text: int = 64
    k: int = 8
    layers: int = 4
    dtype: torch.dtype = torch.bfloat16
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("units", "text", "k", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        regions = self.units * (_SIDE // _REGION) ** 2
        if self.k > regions:
            raise ValueError(f"k must be at most the {regions} regions of the units, got {self.k}; add units")


@dataclass(frozen=True)
class Overhead:
    """What was measured.

    Attributes:
        parts_ms: Milliseconds of a decoding step of a layer made of parts, the median.
        function_ms: Milliseconds of the one function.
        overhead: What parts cost beyond it, as a share of it; below 0 = they are faster.
        error: Relative root-mean-square distance of the two answers.
    """

    parts_ms: float
    function_ms: float
    overhead: float
    error: float


def bench_overhead(shape: OverheadShape, *, repeats: int = 15) -> Iterator[Overhead]:
    """Measures decoding steps of both in turns; yields the figures so far after each round.

    Both store a key and a value, score, route, and hand the query to the same backend. What a forward computes once
    for all layers is done before, for either.

    Args:
        shape: What is computed.
        repeats: Rounds over all layers, each with a token of its own.
    """
    with torch.no_grad():
        steps = repeats + 2
        made = _Prompt(shape, steps)
        runs: list[Callable[[int], Tensor]] = [_Parts(made), _Function(made)]
        outs = [torch.cat([run(layer) for layer in range(shape.layers)]).float() for run in runs]
        error = float((outs[0] - outs[1]).norm() / outs[1].norm())
        forms = dict(zip(("parts", "function"), runs, strict=True))
        for times in interleaved(forms, layers=shape.layers, repeats=repeats, device="cpu"):
            parts, function = times["parts"], times["function"]
            yield Overhead(parts, function, parts / function - 1, error)


class _Prompt:
    """Layers that hold a prompt, and the passes that decode after it."""

    def __init__(self, shape: OverheadShape, steps: int) -> None:
        self.shape, self.steps = shape, steps
        self.layout = prompt_layout([(shape.units, _SIDE, _SIDE)], num_text=shape.text)
        self.gaze = Gaze(partition=GridPartition(size=(1, _REGION, _REGION)), route=TopKRouter(k=shape.k))
        self.generator = torch.Generator().manual_seed(shape.seed)
        self.known = Divisions()
        prefill = self.forward(0, self.layout.length, {})
        self.division = prefill.division(self.gaze)
        self.held = [self._held(layer) for layer in range(shape.layers)]
        self.asked = [self.look(layer, 1) for layer in range(shape.layers)]

    def draw(self, heads: int, length: int) -> Float[Tensor, "1 head token dim"]:
        """Numbers by lot."""
        shape = (1, heads, length, self.shape.sizes.head_dim)
        return torch.randn(shape, generator=self.generator).to(self.shape.dtype)

    def look(self, layer: int, length: int) -> Look:
        """A call of a layer with numbers by lot."""
        sizes = self.shape.sizes
        key, value = (self.draw(sizes.num_kv_heads, length) for _ in range(2))
        query = self.draw(sizes.num_heads, 1).expand(-1, -1, length, -1)
        return Look(query=query, key=key, value=value, layer=layer, scale=sizes.head_dim**-0.5)

    def forward(self, start: int, stop: int, memory: dict[int, LayerMemory]) -> ForwardPass:
        """What the layers share while they compute the tokens `[start, stop)`."""
        return ForwardPass(
            layout=self.layout.extended(stop), declared=self.layout.length, start=start, stop=stop, openness=0.0,
            num_layers=self.shape.layers, memory=memory, trace=None, known=self.known,
        )  # fmt: skip

    def passes(self, memory: dict[int, LayerMemory]) -> list[ForwardPass]:
        """One for each token that is decoded, with its division at hand."""
        length = self.layout.length
        passes = [self.forward(length + step, length + step + 1, memory) for step in range(self.steps)]
        for one in passes:
            one.division(self.gaze)
        return passes

    def _held(self, layer: int) -> Look:
        return self.look(layer, self.layout.length)


class _Parts:
    """A layer as it is composed."""

    def __init__(self, made: _Prompt) -> None:
        self.made = made
        self.memory = {look.layer: LayerMemory(ResidentStore()) for look in made.held}
        for look in made.held:
            memory, division = self.memory[look.layer], made.division
            memory.store.add(look, division.tokens, division.regions)
            entries = memory.store.entries()
            seen = Look(
                query=look.query, key=entries.key, value=entries.value, layer=look.layer, scale=look.scale
            )
            regions = division.regions.aligned(entries.tokens.owner[:, 0])
            assert made.gaze.pool is not None, "the default pools"
            memory.described[0] = made.gaze.pool.describe(seen, regions)
        self.passes = made.passes(self.memory)
        self.taken = [0] * len(made.held)

    def __call__(self, layer: int) -> Float[Tensor, "1 head 1 dim"]:
        forward = self.passes[self.taken[layer]]
        self.taken[layer] += 1
        return look_once(self.made.asked[layer], self.made.gaze, forward)


class _Function:
    """The same as one function over plain tensors."""

    def __init__(self, made: _Prompt) -> None:
        self.made = made
        parts = _Parts(made)
        self.divisions: list[Division] = [one.division(made.gaze) for one in parts.passes]
        end = parts.passes[-1].stop
        visual = made.division.regions.owner.shape[1] - made.shape.text
        order = made.division.regions.owner[0, :visual].argsort(stable=True)
        order = torch.cat([order, torch.arange(visual, end)])
        regions = self.divisions[-1].regions
        owned = parts.passes[-1].layout.tokens.owned_by(regions.owner[:, None])
        self.tokens = owned.take(order[None, None])
        self.position = order[None, None]
        self.begin = (regions.size.cumsum(1) - regions.size)[:, None]
        self.count, self.free = regions.size[:, None], visual
        self.means = [parts.memory[look.layer].described[0].tensors["mean"] for look in made.held]
        room = end - made.layout.length
        self.key, self.value = (
            [torch.nn.functional.pad(getattr(look, name), (0, 0, 0, room))[:, :, order] for look in made.held]
            for name in ("key", "value")
        )
        self.taken = [0] * len(made.held)
        entries = self._entries(0, made.layout.length)
        first = self._plan(
            self.divisions[0], torch.zeros(1, made.shape.sizes.num_heads, 1, made.shape.k).int()
        )
        self.backend = choose(made.gaze.backend, entries, first)

    def __call__(self, layer: int) -> Float[Tensor, "1 head 1 dim"]:
        step = self.taken[layer]
        self.taken[layer] += 1
        look, division = self.made.asked[layer], self.divisions[step]
        place = self.made.layout.length + step
        self.key[layer][:, :, place] = look.key[:, :, 0]
        self.value[layer][:, :, place] = look.value[:, :, 0]
        means = self.means[layer]
        asked = look.query.float().view(1, means.shape[1], -1, means.shape[3])
        scores = (asked @ means.transpose(2, 3)).view(1, look.query.shape[1], 1, -1)
        bits = (scores + 0.0).view(torch.int32)
        rank = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() << 32
        rank |= torch.arange(rank.shape[-1] - 1, -1, -1)
        index = rank.topk(self.made.shape.k, dim=-1).indices.int().sort(dim=-1).values
        plan = self._plan(division, index)
        return self.backend.attend(look.query, self._entries(layer, place + 1), plan)

    def _entries(self, layer: int, end: int) -> Entries:
        return Entries(
            key=self.key[layer][:, :, :end], value=self.value[layer][:, :, :end],
            tokens=self.tokens.narrow(0, end), position=self.position[..., :end], begin=self.begin,
            count=self.count, free=self.free,
        )  # fmt: skip

    def _plan(self, division: Division, index: Int[Tensor, "1 head 1 slot"]) -> Plan:
        return Plan(
            query=division.tokens, rows=division.rows, regions=division.regions, selection=Selection(index),
            keeps=None, scale=self.made.asked[0].scale,
        )  # fmt: skip
