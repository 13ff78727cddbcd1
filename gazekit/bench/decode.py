"""Decoding: one query per sample over a long visual cache, gaze beside the fastest dense form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.attend import ReferenceBackend, choose
from gazekit.bench.dense import FORMS
from gazekit.bench.scene import Scene, clips_of, scene_of
from gazekit.bench.timing import interleaved
from gazekit.contracts import Sizes
from gazekit.gaze.prompt import Clip
from gazekit.route import TopKRouter


@dataclass(frozen=True, kw_only=True)
class DecodeShape:
    """What is decoded.

    Attributes:
        sizes: The decoder; its layers are gone through in turn, `layers` of them.
        visual: Visual entries.
        attend: Visual entries that a query looks at, rounded to whole regions.
        text: Text entries, always in view.
        context: Context entries of each unit of 576, always in view.
        batch: Samples.
        share: "head": each query head chooses. "group": each KV head.
        region: Tokens of a region along (t, y, x).
        layers: Layers of keys and values by lot; together they should not fit the caches.
        dtype: Of queries, keys and values.
        device: Where.
        seed: Of the lot.

    Raises:
        ValueError: A number is below 1, or more is looked at than there is.
    """

    sizes: Sizes
    visual: int
    attend: int
    text: int = 600
    context: int = 0
    batch: int = 1
    share: str = "head"
    region: tuple[int, int, int] = (1, 6, 6)
    layers: int = 8
    dtype: torch.dtype = torch.bfloat16
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("visual", "attend", "batch", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.attend > self.visual:
            raise ValueError(
                f"attend must be at most the {self.visual} visual entries, got {self.attend}; for dense attention the "
                "bench has forms of its own"
            )

    @property
    def k(self) -> int:
        """Regions that a query looks at."""
        t, y, x = self.region
        return max(1, round(self.attend / (t * y * x)))

    @property
    def clips(self) -> list[Clip]:
        """Frames of 24 x 24, and what is left over as rows."""
        return clips_of(self.visual)


@dataclass(frozen=True)
class DecodeResult:
    """What was measured of one backend.

    Attributes:
        backend: Its name.
        share: Who chooses: heads or groups.
        visual: Visual entries held.
        attend: Visual entries that a query looked at, averaged over heads, layers and samples.
        batch: Samples.
        ms: Milliseconds of a step of one layer, scoring and routing included, the median.
        dense_ms: Milliseconds of the fastest dense form.
        ratio: `dense_ms / ms`: above 1 = faster than dense.
        bytes: Bytes of keys, values and descriptors that the step must read: the union of what the heads of each KV
            head chose, context, text, and all descriptors.
        error: Relative root-mean-square distance to the reference on the same inputs.
        refused: Why there are no figures; None = there are.
    """

    backend: str
    share: str
    visual: int
    attend: float
    batch: int
    ms: float | None
    dense_ms: float
    ratio: float | None
    bytes: int
    error: float | None
    refused: str | None = None


def bench_decode(
    shape: DecodeShape, backends: Sequence[str], *, repeats: int = 15
) -> Iterator[tuple[list[DecodeResult], dict[str, float]]]:
    """Measures backends and dense forms in turns; yields the figures so far after each round.

    Args:
        shape: What is decoded.
        backends: Names, "auto" among them.
        repeats: Rounds over all layers.

    Yields:
        A result for each backend, and milliseconds of each dense form.

    Raises:
        ValueError: A backend has an unknown name.
    """
    with torch.no_grad():
        scene = _scene(shape)
        refused = {name: _refusal(scene, name) for name in backends}
        forms: dict[str, Callable[[int], object]] = {
            name: partial(scene.step, name) for name in backends if refused[name] is None
        }
        flat = [_sequence(scene, number) for number in range(shape.layers)]
        forms |= {name: partial(_dense, form, scene, flat) for name, form in FORMS.items()}
        errors = {name: _error(scene, name) for name in backends if refused[name] is None}
        attended, read = _looked_at(scene)
        for times in interleaved(forms, layers=shape.layers, repeats=repeats, device=shape.device):
            dense = {name: times[name] for name in FORMS}
            fastest = min(dense.values())
            yield [
                DecodeResult(
                    backend=name, share=shape.share, visual=shape.visual, attend=attended, batch=shape.batch,
                    ms=times.get(name), dense_ms=fastest, ratio=fastest / times[name] if name in times else None,
                    bytes=read, error=errors.get(name), refused=refused[name],
                )
                for name in backends
            ], dense  # fmt: skip


def _scene(shape: DecodeShape) -> Scene:
    sizes = shape.sizes
    return scene_of(
        shape.clips, num_context=shape.context, num_text=shape.text, batch=shape.batch, heads=sizes.num_heads,
        kv_heads=sizes.num_kv_heads, dim=sizes.head_dim, num_layers=shape.layers, partition_size=shape.region,
        route=TopKRouter(k=shape.k, share="group" if shape.share == "group" else "head"), dtype=shape.dtype,
        device=shape.device, seed=shape.seed,
    )  # fmt: skip


def _dense(
    form: Callable[[Tensor, Tensor, Tensor], Tensor],
    scene: Scene,
    flat: Sequence[tuple[Tensor, Tensor]],
    number: int,
) -> Tensor:
    return form(scene.layers[number].query, *flat[number])


def _refusal(scene: Scene, backend: str) -> str | None:
    try:
        choose(backend, scene.entries(0), scene.plan(scene.select(0)))
    except ValueError as error:
        if "must be one of" in str(error):
            raise
        return str(error)
    return None


def _sequence(
    scene: Scene, number: int
) -> tuple[Float[Tensor, "batch kv_head entry dim"], Float[Tensor, "batch kv_head entry dim"]]:
    """A layer's keys and values in one piece, as a dense cache has them."""
    entries = scene.entries(number)
    return entries.key.contiguous(), entries.value.contiguous()


def _error(scene: Scene, backend: str) -> float:
    """Relative RMS distance to the reference, in the first layer."""
    found = scene.step(backend, 0).float()
    plan, entries = scene.plan(scene.select(0)), scene.entries(0)
    expected = ReferenceBackend().attend(scene.layers[0].query, entries, plan).float()
    return float((found - expected).norm() / expected.norm())


def _looked_at(scene: Scene) -> tuple[float, int]:
    """Visual entries of a query, averaged; and bytes that a step must read, averaged over the layers."""
    attended, read = 0.0, 0.0
    size = scene.regions.size[:, None]
    for number, layer in enumerate(scene.layers):
        selection, entries = scene.select(number), scene.entries(number)
        assert selection is not None, "the bench routes at openness 0"
        chosen = selection.chosen(scene.regions.count)[:, :, 0]
        attended += float((chosen * size).sum(-1).double().mean())
        kv_heads, dim = entries.key.shape[1], entries.key.shape[3]
        union = chosen if chosen.shape[1] <= kv_heads else chosen.unflatten(1, (kv_heads, -1)).any(2)
        rows = (union * size).sum() * (kv_heads // union.shape[1])
        free = entries.key[:, :, entries.free :].shape[2] * entries.key.shape[0] * kv_heads
        read += 2 * dim * entries.key.element_size() * (float(rows) + free)
        read += sum(t.numel() * t.element_size() for t in layer.described.tensors.values())
    return attended / len(scene.layers), int(read / len(scene.layers))
