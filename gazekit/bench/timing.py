"""Timing several forms of one computation so that none is flattered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from statistics import fmean, median

import torch

Form = Callable[[int], object]
"""Computes in the layer whose number it is given."""


def interleaved(
    forms: Mapping[str, Form], *, layers: int, repeats: int, device: str
) -> Iterator[dict[str, float]]:
    """Milliseconds of each form in a layer so far, averaged over the layers; the arguments are those of `by_layer`."""
    for times in by_layer(forms, layers=layers, repeats=repeats, device=device):
        yield {name: fmean(medians) for name, medians in times.items()}


def by_layer(
    forms: Mapping[str, Form], *, layers: int, repeats: int, device: str
) -> Iterator[dict[str, list[float]]]:
    """Milliseconds of each form in each layer so far; yields after each round, so that it can be watched.

    Every round calls every form on every layer, so that what disturbs the machine disturbs all of them; and a layer is
    out of the caches again before its form comes back to it, if the layers together are larger than they. What counts
    is the median round of each layer. On one CPU thread that thread's own time is taken, so
    that waiting for a core that others use counts for no form; what they take of caches and memory does.

    On CUDA each form goes through all layers in one CUDA graph, timed by events, so that launching costs little, and
    its layers share one figure; a form that cannot be captured (it waits for the device, say) is timed as it is.

    Args:
        forms: What to call with the number of a layer.
        layers: Layers to go through.
        repeats: Rounds; one more goes before, which is not counted.
        device: What is waited for.
    """
    cuda = device.startswith("cuda")
    passes = {name: _captured(form, layers) for name, form in forms.items()} if cuda else {}
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    taken: dict[str, list[list[float]]] = {name: [] for name in forms}
    for round_ in range(repeats + 1):
        for name, form in forms.items():
            if cuda:
                took = [_by_events(passes[name]) / layers]
            else:
                took = [_by_clock(clock, form, layer) for layer in range(layers)]
            if round_ > 0:
                taken[name].append(took)
        if round_ > 0:
            yield {name: [*map(median, zip(*rounds, strict=True))] for name, rounds in taken.items()}


def _by_clock(clock: Callable[[], float], form: Form, layer: int) -> float:
    begin = clock()
    form(layer)
    return 1e3 * (clock() - begin)


def _by_events(run: Callable[[], object]) -> float:
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    stop.record()
    stop.synchronize()
    return float(start.elapsed_time(stop))


def _captured(form: Form, layers: int) -> Callable[[], object]:
    """Goes through all layers, replayed from a CUDA graph where one can be captured."""

    def run() -> None:
        for layer in range(layers):
            form(layer)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            run()
    except RuntimeError:
        torch.cuda.synchronize()
        return run
    return graph.replay
