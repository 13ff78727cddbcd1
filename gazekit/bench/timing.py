"""Timing several forms of one computation so that none is flattered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from statistics import median

import torch


def interleaved(
    forms: Mapping[str, Callable[[int], object]], *, layers: int, repeats: int, device: str
) -> Iterator[dict[str, float]]:
    """Milliseconds of each form, medians over all calls so far; yields after each round, so that it can be watched.

    Every round calls every form on every layer, so that what disturbs the machine disturbs all of them; and a layer is
    out of the caches again before its form comes back to it, if the layers together are larger than they.

    Args:
        forms: What to call with the number of a layer.
        layers: Layers to go through.
        repeats: Rounds; one more goes before, which is not counted.
        device: What is waited for.
    """
    times: dict[str, list[float]] = {name: [] for name in forms}
    for round_ in range(repeats + 1):
        for name, form in forms.items():
            for layer in range(layers):
                took = _clocked(form, layer, device)
                if round_ > 0:
                    times[name].append(took)
        if round_ > 0:
            yield {name: median(taken) for name, taken in times.items()}


def _clocked(form: Callable[[int], object], layer: int, device: str) -> float:
    if not device.startswith("cuda"):
        begin = time.perf_counter()
        form(layer)
        return 1e3 * (time.perf_counter() - begin)
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    form(layer)
    stop.record()
    stop.synchronize()
    return float(start.elapsed_time(stop))
