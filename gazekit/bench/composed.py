"""A layer as it is composed, on a prompt with keys and values by lot."""

from __future__ import annotations

import time
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Look, Sizes, TokenLayout
from gazekit.gaze import ForwardPass, Gaze, LayerMemory, prompt_layout
from gazekit.gaze.forward import Divisions
from gazekit.gaze.loop import look_once
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from gazekit.store import ResidentStore

SIDE = 24
"""Rows and columns of a unit, in tokens."""
REGION = 6
"""Rows and columns of a region."""


class Prompt:
    """Units of 24 x 24 tokens and text behind them, and what each layer is called with.

    Args:
        sizes: The decoder.
        units: Units.
        text: Text tokens.
        k: Regions that a query of a head looks at.
        layers: Layers, each with numbers of its own.
        steps: Forwards.
        dtype: Of queries, keys and values.
        seed: Of the lot.

    Attributes:
        once_ms: Milliseconds that it took to make what a forward's layers share, the median.
    """

    def __init__(
        self,
        sizes: Sizes,
        units: int,
        text: int,
        k: int,
        layers: int,
        steps: int,
        dtype: torch.dtype,
        seed: int,
    ) -> None:
        self.sizes, self.text, self.k, self.layers, self.steps = sizes, text, k, layers, steps
        self.layout: TokenLayout = prompt_layout([(units, SIDE, SIDE)], num_text=text)
        self.gaze = Gaze(partition=GridPartition(size=(1, REGION, REGION)), route=TopKRouter(k=k))
        self.once_ms = 0.0
        self._dtype = dtype
        self._generator = torch.Generator().manual_seed(seed)
        self.given = [self._look(layer, self.layout.length) for layer in range(layers)]
        self.asked = [self._look(layer, 1) for layer in range(layers)]

    @property
    def visual(self) -> int:
        """Visual tokens; they come first."""
        return self.layout.length - self.text

    def passes(self, starts: list[int], lengths: list[int]) -> list[ForwardPass]:
        """Forwards from a place on, each with its division at hand and empty memories."""
        known, made, took = Divisions(), [], []
        for start, length in zip(starts, lengths, strict=True):
            begun = time.thread_time()
            stop = start + length
            forward = ForwardPass(
                layout=self.layout.extended(stop), declared=self.layout.length, start=start, stop=stop, openness=0.0,
                num_layers=self.layers, memory={}, trace=None, known=known,
            )  # fmt: skip
            forward.division(self.gaze)
            took.append(1e3 * (time.thread_time() - begun))
            made.append(forward)
        self.once_ms = median(took)
        return made

    def _look(self, layer: int, length: int) -> Look:
        heads, kv_heads = self.sizes.num_heads, self.sizes.num_kv_heads
        query, key, value = (self._draw(count, length) for count in (heads, kv_heads, kv_heads))
        return Look(query=query, key=key, value=value, layer=layer, scale=self.sizes.head_dim**-0.5)

    def _draw(self, heads: int, length: int) -> Float[Tensor, "1 head token dim"]:
        shape = (1, heads, length, self.sizes.head_dim)
        return torch.randn(shape, generator=self._generator).to(self._dtype)


class PrefilledParts:
    """The prompt in one forward, into an empty store each time."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        count = prompt.steps
        self.passes = prompt.passes([0] * count, [prompt.layout.length] * count)
        self.taken = [0] * prompt.layers

    def __call__(self, layer: int) -> Float[Tensor, "1 head query dim"]:
        """The answers of a layer."""
        forward = self.passes[self.taken[layer]]
        self.taken[layer] += 1
        forward.memory[layer] = LayerMemory(ResidentStore())
        out = look_once(self.prompt.given[layer], self.prompt.gaze, forward)
        # A model would go on with the keys and values; here they only fill the memory.
        del forward.memory[layer]
        return out


class DecodedParts:
    """One token after another behind the prompt."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        length = prompt.layout.length
        prefill, *self.passes = prompt.passes(
            [0, *range(length, length + prompt.steps)], [length] + [1] * prompt.steps
        )
        division, pool = prefill.division(prompt.gaze), prompt.gaze.pool
        assert pool is not None, "the default pools"
        self.memory: dict[int, LayerMemory] = {}
        for look in prompt.given:
            layer = self.memory[look.layer] = LayerMemory(ResidentStore())
            layer.store.add(look, division.tokens, division.regions)
            layer.described[0] = pool.describe(look, division.regions)
        for forward in self.passes:
            forward.memory.update(self.memory)
        self.taken = [0] * prompt.layers

    def __call__(self, layer: int) -> Float[Tensor, "1 head 1 dim"]:
        """The answer of a layer to its next token."""
        forward = self.passes[self.taken[layer]]
        self.taken[layer] += 1
        return look_once(self.prompt.asked[layer], self.prompt.gaze, forward)
