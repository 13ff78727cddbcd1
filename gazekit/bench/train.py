"""Training: one step, forward and backward, of attention or of whole decoder layers, gaze beside dense attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.attend import check_backend_name
from gazekit.bench.decoder import Layers, layers_of
from gazekit.bench.memory import peak_bytes
from gazekit.bench.scene import clips_of, layout_on
from gazekit.bench.timing import interleaved
from gazekit.contracts import Look, Sizes, TokenLayout
from gazekit.gaze import ForwardPass, Gaze, prompt_layout
from gazekit.gaze.forward import Divisions
from gazekit.gaze.loop import look_once
from gazekit.partition import GridPartition
from gazekit.pool import MeanPooler
from gazekit.route import TopKRouter

SCOPES = ("attention", "layer")


@dataclass(frozen=True, kw_only=True)
class TrainShape:
    """What is trained.

    Attributes:
        sizes: The decoder.
        mlp_dim: Width of its MLPs; only of scope "layer".
        visual: Visual tokens of a sample.
        attend: Visual tokens that a text query looks at, rounded to whole regions.
        text: Text tokens of a sample, behind the images; they route.
        context: Context tokens of each image of 24 x 24.
        batch: Samples.
        scope: "attention": attention, scoring and routing of one layer. "layer": whole decoder layers.
        layers: Decoder layers of scope "layer".
        share: "head": each query head chooses. "group": each KV head.
        region: Tokens of a region along (t, y, x).
        dtype: Of all that is computed.
        device: Where.
        seed: Of the lot.

    Raises:
        ValueError: A number is below 1, more is looked at than there is, or the scope has another name.
    """

    sizes: Sizes
    mlp_dim: int
    visual: int = 4608
    attend: int = 936
    text: int = 512
    context: int = 4
    batch: int = 1
    scope: str = "layer"
    layers: int = 1
    share: str = "head"
    region: tuple[int, int, int] = (1, 6, 6)
    dtype: torch.dtype = torch.bfloat16
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("visual", "attend", "text", "batch", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.attend > self.visual:
            raise ValueError(f"attend must be at most the {self.visual} visual tokens, got {self.attend}")
        if self.scope not in SCOPES:
            raise ValueError(f"scope must be one of {', '.join(SCOPES)}, got {self.scope!r}")

    @property
    def layout(self) -> TokenLayout:
        """The prompt."""
        layout = prompt_layout(clips_of(self.visual), num_context=self.context, num_text=self.text)
        return layout.reorder(torch.zeros(self.batch, dtype=torch.int64))

    def gaze(self, backend: str) -> Gaze:
        """How it looks."""
        t, y, x = self.region
        k = max(1, round(self.attend / (t * y * x)))
        return Gaze(
            partition=GridPartition(size=self.region),
            pool=MeanPooler(),
            route=TopKRouter(k=k, share="group" if self.share == "group" else "head"),
            backend=backend,
        )


@dataclass(frozen=True)
class TrainResult:
    """What was measured of one backend, or of one form of dense attention.

    Attributes:
        backend: Its name.
        scope: What a step is: "attention" of a layer, or whole "layer"s.
        visual: Visual tokens of a sample.
        tokens: All tokens of the batch.
        ms: Milliseconds of a step, forward and backward, scoring and routing included; the median.
        dense_ms: Milliseconds of the fastest dense form.
        time_over_dense: `ms / dense_ms`: above 1 = slower than dense.
        peak_bytes: The most that a step holds beyond what lay there before it (weights, inputs).
        dense_peak_bytes: The same of the fastest dense form.
        memory_over_dense: `peak_bytes / dense_peak_bytes`.
        tokens_per_second: `tokens` over the time of the step, for as many layers as were measured.
        refused: Why there are no figures; None = there are.
    """

    backend: str
    scope: str
    visual: int
    tokens: int
    ms: float | None = None
    dense_ms: float | None = None
    time_over_dense: float | None = None
    peak_bytes: int | None = None
    dense_peak_bytes: int | None = None
    memory_over_dense: float | None = None
    tokens_per_second: float | None = None
    refused: str | None = None


def bench_train(
    shape: TrainShape, backends: Sequence[str], *, repeats: int = 5
) -> Iterator[list[TrainResult]]:
    """Measures backends and dense attention in turns; yields the figures so far after each round, dense ones first.

    Args:
        shape: What is trained.
        backends: Names, "auto" among them.
        repeats: Rounds.

    Raises:
        ValueError: A backend has an unknown name.
    """
    for name in backends:
        check_backend_name(name)
    forms, dense = _attention(shape, backends) if shape.scope == "attention" else _layers(shape, backends)
    refused: dict[str, str] = {}
    peaks: dict[str, int] = {}
    for name, form in forms.items():
        try:
            peaks[name] = peak_bytes(partial(form, 0), shape.device)
        except ValueError as error:
            if "cannot do this" not in str(error):
                raise
            refused[name] = str(error)
    running = {name: form for name, form in forms.items() if name not in refused}
    tokens = shape.layout.length * shape.batch
    for times in interleaved(running, layers=1, repeats=repeats, device=shape.device):
        fastest = min(dense, key=lambda name: times[name])
        yield [
            TrainResult(name, shape.scope, shape.visual, tokens, refused=refused[name])
            if name in refused
            else TrainResult(
                backend=name, scope=shape.scope, visual=shape.visual, tokens=tokens,
                ms=times[name], dense_ms=times[fastest], time_over_dense=times[name] / times[fastest],
                peak_bytes=peaks[name], dense_peak_bytes=peaks[fastest],
                memory_over_dense=peaks[name] / peaks[fastest], tokens_per_second=1e3 * tokens / times[name],
            )
            for name in forms
        ]  # fmt: skip


Forms = dict[str, Callable[[int], object]]


def _attention(shape: TrainShape, backends: Sequence[str]) -> tuple[Forms, list[str]]:
    """Attention of one layer on queries, keys and values by lot. What a forward's layers share is made beforehand."""
    generator = torch.Generator().manual_seed(shape.seed)
    sizes, layout = shape.sizes, shape.layout

    def draw(heads: int) -> Float[Tensor, "batch head token dim"]:
        drawn = torch.randn(shape.batch, heads, layout.length, sizes.head_dim, generator=generator)
        return drawn.to(shape.device, shape.dtype).requires_grad_()

    query, key, value = draw(sizes.num_heads), draw(sizes.num_kv_heads), draw(sizes.num_kv_heads)
    grad = torch.randn_like(query)
    look = Look(query=query, key=key, value=value, layer=0, scale=sizes.head_dim**-0.5)
    layout = layout_on(layout, shape.device)

    def step(attend: Callable[[], Tensor], _: int) -> None:
        attend().backward(grad)
        for tensor in (query, key, value):
            tensor.grad = None

    def dense(grouped: bool) -> Tensor:
        repeats = 1 if grouped else look.group
        keys, values = (field.repeat_interleave(repeats, 1) for field in (key, value))
        return torch.nn.functional.scaled_dot_product_attention(
            query, keys, values, is_causal=True, enable_gqa=grouped
        )

    forms: Forms = {
        "dense grouped": partial(step, partial(dense, True)),
        "dense repeated": partial(step, partial(dense, False)),
    }
    names = list(forms)
    for backend in backends:
        gaze = shape.gaze(backend)
        shared = ForwardPass(
            layout=layout, declared=layout.length, start=0, stop=layout.length, openness=0.0, num_layers=1,
            memory={}, trace=None, known=Divisions(),
        )  # fmt: skip
        shared.division(gaze)
        forms[backend] = partial(step, partial(look_once, look, gaze, shared))
    return forms, names


def _layers(shape: TrainShape, backends: Sequence[str]) -> tuple[Forms, list[str]]:
    """Whole layers of a stock decoder, what they share among them included; dense ones as transformers runs them."""
    torch.manual_seed(shape.seed)
    layout = layout_on(shape.layout, shape.device)
    plain = layers_of(shape.sizes, shape.mlp_dim, shape.layers).to(shape.device, shape.dtype)
    hidden = torch.randn(shape.batch, layout.length, shape.sizes.hidden_dim, device=shape.device).to(
        shape.dtype
    )
    hidden.requires_grad_()
    grad = torch.randn_like(hidden)

    def step(layers: Layers, _: int) -> None:
        layers(hidden, layout).backward(grad)
        layers.zero_grad(set_to_none=True)
        hidden.grad = None

    forms: Forms = {"dense": partial(step, plain)}
    for backend in backends:
        layers = layers_of(shape.sizes, shape.mlp_dim, shape.layers, shape.gaze(backend), like=plain)
        forms[backend] = partial(step, layers.to(shape.device))
    return forms, ["dense"]
