"""What `gazekit bench offload` measures and shows."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from gazekit.cli.output import check_writable, print_facts, print_table, write_json
from gazekit.cli.prepare import dtype_of

if TYPE_CHECKING:
    from gazekit.bench import OffloadResult


def offload(arguments: argparse.Namespace, device: str) -> None:
    """Measures decoding for each size of the hot buffer; prints tables, writes JSON where asked.

    Raises:
        ValueError: A shape is not known, or a number is out of its range.
        OSError: The disk has no room for the regions, or the file of figures cannot be written; the latter is said
            before anything is measured.
    """
    from rich.console import Console
    from rich.progress import Progress

    from gazekit.bench import DecodeShape, OffloadShape, bench_offload, machine, versions
    from gazekit.gaze import shape_of
    from gazekit.kernels import native

    check_writable(arguments.json)
    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        if device == "cpu" and native.unbuildable() is None:
            native.build()
        decode = DecodeShape(
            sizes=shape_of(arguments.shape), visual=arguments.visual, attend=arguments.attend, text=arguments.text,
            context=arguments.context, batch=arguments.batch, share=arguments.share, layers=arguments.layers,
            dtype=dtype_of(arguments), device=device, seed=arguments.seed,
        )  # fmt: skip
        shapes = [
            OffloadShape(
                decode=decode, tier=arguments.tier, slots=slots, steps=arguments.steps, drift=arguments.drift,
                folder=None if arguments.folder is None else str(arguments.folder), compare=not arguments.alone,
                sweep=arguments.sweep,
            )
            for slots in arguments.slots
        ]  # fmt: skip
        results: list[OffloadResult] = []
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for shape in shapes:
                tasks = {what: progress.add_task(what, total=None) for what in ("fill", "decode", "sweep")}
                results.append(
                    bench_offload(
                        shape,
                        lambda what, done, total: progress.update(tasks[what], completed=done, total=total),  # noqa: B023
                    )
                )
                for task in tasks.values():
                    progress.remove_task(task)
    finally:
        torch.set_num_threads(threads)
    _print(arguments, results)
    about = machine(device)
    print_facts("machine", {name: str(value) for name, value in about.items()})
    if arguments.json is not None:
        table = {"results": [asdict(one) for one in results], "machine": about, "versions": versions()}
        write_json(arguments.json, table)


def _print(arguments: argparse.Namespace, results: list[OffloadResult]) -> None:
    """One table of what was measured, one of what buffers of other sizes would have had at hand."""
    one = results[0]
    title = (
        f"{arguments.shape}, {one.visual:,} -> {one.k} regions, share {one.share}, {one.tier}, {one.backend}"
    )
    header = (
        title, "ms a layer", "resident ms", "same bits", "hit rate", "MB moved", "hot / dense", "held / dense",
        "MB made", "peak growth MB", "of it now own", "of it now mapped", "swept",
    )  # fmt: skip
    rows = [
        (
            f"{one.slots:g} K slots", f"{one.ms:.3f}", _said(one.resident_ms, ".3f"), _said(one.equal),
            f"{one.hit_rate:.3f}", f"{one.moved_bytes / 1e6:.2f}", f"{one.hot_share:.3f}", f"{one.resident_share:.3f}",
            f"{one.transient_bytes / 1e6:.2f}", f"{one.growth['peak'] / 1e6:,.0f}",
            f"{one.growth['anonymous'] / 1e6:,.0f}", f"{one.growth['mapped'] / 1e6:,.0f}", _said(one.swept),
        )
        for one in results
    ]  # fmt: skip
    print_table(header, rows)
    sizes = list(results[0].locality[0].hits)
    columns = (
        "locality",
        "step to step",
        "all of a group",
        "union / K",
        *(f"hits at {x:g} K" for x in sizes),
    )
    print_table(
        columns,
        [
            (
                f"layer {number}", f"{one.steps:.3f}", f"{one.group:.3f}", f"{one.union:.2f}",
                *(f"{one.hits[size]:.3f}" for size in sizes),
            )
            for number, one in enumerate(results[0].locality)
        ],
    )  # fmt: skip


def _said(figure: float | bool | None, how: str = "") -> str:
    """A figure, yes or no, or nothing where it was not asked for."""
    if isinstance(figure, bool):
        return "yes" if figure else "NO"
    return "" if figure is None else format(figure, how)
