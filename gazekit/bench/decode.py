"""Decoding: one query per sample over a long visual cache, gaze beside the fastest dense form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from gazekit.attend import check_backend_name, choose
from gazekit.bench import dense
from gazekit.bench.memory import peak_bytes
from gazekit.bench.scene import Scene, clips_of, scene_of
from gazekit.bench.standard import bytes_read, distance_to_reference, read_through
from gazekit.bench.timing import Form, interleaved
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
        ms: Milliseconds of a step of one layer, scoring and routing included.
        dense_ms: Milliseconds of the fastest dense form.
        ratio: `dense_ms / ms`: above 1 = faster than dense.
        bytes: Bytes of keys, values and descriptors that the step must read: the union of what the heads of each KV
            head chose, context, text, and all descriptors.
        error: Relative root-mean-square distance to the reference on the same inputs.
        limit: Share of the memory's speed that the step reaches: the time in which these bytes could be read one after
            another, measured in the same run, over `ms`. On CUDA copied.
        peak: Bytes of tensors that a step has at once beyond what was there before.
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
    limit: float | None = None
    peak: int | None = None
    refused: str | None = None


@dataclass(frozen=True)
class DenseResult:
    """What was measured of one dense form; the fields mean what they mean in `DecodeResult`."""

    form: str
    visual: int
    batch: int
    ms: float | None
    bytes: int
    limit: float | None = None
    peak: int | None = None
    refused: str | None = None


@dataclass(frozen=True)
class DecodeTable:
    """All that was measured on one shape.

    Attributes:
        results: Of each backend.
        dense: Of each dense form.
        read_rate: Bytes a second that can be read one after another, in the same run. On CUDA read and written.
    """

    results: list[DecodeResult]
    dense: list[DenseResult]
    read_rate: float


def bench_decode(shape: DecodeShape, backends: Sequence[str], *, repeats: int = 15) -> Iterator[DecodeTable]:
    """Measures backends and dense forms in turns; yields the figures so far after each round.

    Args:
        shape: What is decoded.
        backends: Names, "auto" among them.
        repeats: Rounds over all layers.

    Raises:
        ValueError: A backend has an unknown name.
    """
    for name in backends:
        check_backend_name(name)
    with torch.no_grad():
        scene = _scene(shape)
        refused = {name: _refusal(scene, name) for name in backends}
        forms: dict[str, Form] = {
            name: partial(scene.step, name) for name in backends if refused[name] is None
        }
        flat = scene.layers[0]
        known = dense.forms_on(shape.device)
        reasons = {
            name: dense.refusal(form, flat.query, flat.key, flat.value) for name, form in known.items()
        }
        forms |= {name: partial(_dense, form, scene) for name, form in known.items() if reasons[name] is None}
        errors = {name: distance_to_reference(scene, name) for name in backends if refused[name] is None}
        peaks = {name: peak_bytes(partial(form, 0), shape.device) for name, form in forms.items()}
        attended, read = bytes_read(scene)
        whole = flat.key.nbytes + flat.value.nbytes
        moved = whole * (2 if shape.device.startswith("cuda") else 1)
        forms["reading"] = partial(read_through, scene)
        for times in interleaved(forms, layers=shape.layers, repeats=repeats, device=shape.device):
            fastest = min(ms for name, ms in times.items() if name in known)
            rate = moved / times["reading"]
            limit = lambda name, count: count / rate / times[name] if name in times else None  # noqa: B023, E731
            yield DecodeTable(
                results=[
                    DecodeResult(
                        backend=name, share=shape.share, visual=shape.visual, attend=attended, batch=shape.batch,
                        ms=times.get(name), dense_ms=fastest, ratio=fastest / times[name] if name in times else None,
                        bytes=read, error=errors.get(name), limit=limit(name, read), peak=peaks.get(name),
                        refused=refused[name],
                    )
                    for name in backends
                ],
                dense=[
                    DenseResult(
                        form=name, visual=shape.visual, batch=shape.batch, ms=times.get(name), bytes=whole,
                        limit=limit(name, whole), peak=peaks.get(name), refused=reasons[name],
                    )
                    for name in known
                ],
                read_rate=1e3 * rate,
            )  # fmt: skip


def _scene(shape: DecodeShape) -> Scene:
    sizes = shape.sizes
    return scene_of(
        shape.clips, num_context=shape.context, num_text=shape.text, batch=shape.batch, heads=sizes.num_heads,
        kv_heads=sizes.num_kv_heads, dim=sizes.head_dim, num_layers=shape.layers, partition_size=shape.region,
        route=TopKRouter(k=shape.k, share="group" if shape.share == "group" else "head"), dtype=shape.dtype,
        device=shape.device, seed=shape.seed,
    )  # fmt: skip


def _dense(form: dense.Form, scene: Scene, number: int) -> object:
    layer = scene.layers[number]
    return form(layer.query, layer.key, layer.value)


def _refusal(scene: Scene, backend: str) -> str | None:
    try:
        choose(backend, scene.entries(0), scene.plan(scene.select(0)))
    except ValueError as error:
        return str(error)
    return None
