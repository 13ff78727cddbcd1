"""What composition costs: a layer made of parts beside the same computation written as one function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import torch

from gazekit.bench.composed import REGION, SIDE, DecodedParts, PrefilledParts, Prompt
from gazekit.bench.function import DecodedFunction, PrefilledFunction
from gazekit.bench.timing import by_layer
from gazekit.contracts import Sizes

PHASES = ("decode", "prefill")
"""One token after the prompt, and the prompt."""


@dataclass(frozen=True, kw_only=True)
class OverheadShape:
    """What is computed: units of 24 x 24 tokens in regions of 36, then text; each head looks at `k` regions.

    Attributes:
        sizes: The decoder.
        units: Units.
        text: Text tokens; the prompt's last ones.
        k: Regions that a query of a head looks at.
        phase: "decode": one token after the prompt. "prefill": the prompt.
        layers: Layers gone through in turn, each with keys and values of its own; one more comes before them.
        dtype: Of queries, keys and values.
        seed: Of the lot that they are drawn by.

    Raises:
        ValueError: A number is below 1, more regions are looked at than there are, or the phase has another name.
    """

    sizes: Sizes
    units: int
    text: int = 64
    k: int = 8
    phase: str = "decode"
    layers: int = 4
    dtype: torch.dtype = torch.bfloat16
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("units", "text", "k", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        regions = self.units * (SIDE // REGION) ** 2
        if self.k > regions:
            raise ValueError(f"k must be at most the {regions} regions of the units, got {self.k}; add units")
        if self.phase not in PHASES:
            raise ValueError(f'phase must be "decode" or "prefill", got {self.phase!r}')


@dataclass(frozen=True)
class Overhead:
    """What was measured.

    Attributes:
        phase: "decode" or "prefill".
        backend: What both hand their queries to.
        parts_ms: Milliseconds of a layer made of parts: its median, averaged over layers.
        function_ms: Milliseconds of the one function.
        overhead: What parts cost beyond it, as a share of it; below 0 = they are faster.
        once_ms: Milliseconds that parts spend once a forward, for all its layers: regions and rows of the queries, the
            choice of backends, where the tokens go. The function has that for nothing.
        spread: The overhead with `once_ms` spread over the decoder's layers.
        error: Relative root-mean-square distance of the two answers.
    """

    phase: str
    backend: str
    parts_ms: float
    function_ms: float
    overhead: float
    once_ms: float
    spread: float
    error: float


def bench_overhead(shape: OverheadShape, *, repeats: int = 15) -> Iterator[Overhead]:
    """Measures both in turns; yields the figures so far after each round.

    Both store keys and values, score, route, and hand the queries to the same backend; where kernels of our own score
    and route, they do for both. A layer comes before those that count, and does what a forward does once.

    Args:
        shape: What is computed.
        repeats: Rounds over all layers.
    """
    with torch.no_grad():
        # One layer more, one round that warms up, and one for the comparison.
        prompt = Prompt(
            shape.sizes,
            shape.units,
            shape.text,
            shape.k,
            shape.layers + 1,
            repeats + 2,
            shape.dtype,
            shape.seed,
        )
        parts = (DecodedParts if shape.phase == "decode" else PrefilledParts)(prompt)
        composed = torch.cat([parts(layer) for layer in range(prompt.layers)], 2).float()
        # Now the stores have grown for more than what is measured, and stay where they are.
        function = DecodedFunction(parts) if isinstance(parts, DecodedParts) else PrefilledFunction(parts)
        plain = torch.cat([function(layer) for layer in range(prompt.layers)], 2).float()
        error = float((composed - plain).norm() / plain.norm())
        forms = {"parts": parts, "function": function}
        for times in by_layer(forms, layers=prompt.layers, repeats=repeats, device="cpu"):
            (first, *rest), (bare, *others) = times["parts"], times["function"]
            parts_ms, function_ms = fmean(rest), fmean(others)
            once_ms = prompt.once_ms + first - bare - (parts_ms - function_ms)
            spread = (parts_ms + once_ms / shape.sizes.num_layers) / function_ms - 1
            yield Overhead(
                shape.phase, function.backend_name, parts_ms, function_ms, parts_ms / function_ms - 1, once_ms,
                spread, error,
            )  # fmt: skip
