"""What `gazekit bench` measures and shows."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gazekit.cli.output import check_writable, print_facts, print_table, write_json
from gazekit.cli.prepare import dtype_of

if TYPE_CHECKING:
    from gazekit.bench import DecodeResult, DecodeShape, DecodeTable, DenseResult

_USUAL = (10_240,)
_DRAWN = (1024, 4096, 16_384, 65_536, 163_840, 262_144, 1_048_576)
_LAYERED = 163_840  # above it one layer alone is larger than caches are


def decode(arguments: argparse.Namespace, device: str) -> None:
    """Measures decoding for each number of visual entries; prints a table, writes JSON and a picture where asked.

    Raises:
        ValueError: A shape or backend is not known, or more is looked at than there is.
        OSError: A file cannot be written; said before anything is measured.
    """
    from rich.console import Console
    from rich.progress import Progress

    from gazekit.bench import bench_decode, machine
    from gazekit.kernels import native

    check_writable(arguments.json, arguments.plot)
    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        if {"native", "auto"} & {*arguments.backend} and native.unbuildable() is None:
            native.build()
        tables: list[DecodeTable] = []
        about = machine(device)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for shape in _shapes(arguments, device):
                task = progress.add_task(f"{shape.visual:,} visual entries", total=arguments.repeats)
                for latest in bench_decode(shape, arguments.backend, repeats=arguments.repeats):
                    progress.advance(task)
                    table = latest
                progress.stop_task(task)
                _print(arguments, shape.visual, table)
                tables.append(table)
                if arguments.json is not None:
                    # Each time, so that an interruption loses no more than what is being measured.
                    write_json(arguments.json, _record(tables, about))
    finally:
        torch.set_num_threads(threads)
    print_facts("machine", {name: str(value) for name, value in about.items()})
    if arguments.plot is not None:
        _plot(arguments.plot, tables)


def _shapes(arguments: argparse.Namespace, device: str) -> list[DecodeShape]:
    """What is measured: the numbers that were named, or for a picture those from 1K to 1M."""
    from gazekit.bench import DecodeShape
    from gazekit.gaze import shape_of

    named = arguments.visual is not None
    visual = arguments.visual or (_DRAWN if arguments.plot is not None else _USUAL)
    return [
        DecodeShape(
            sizes=shape_of(arguments.shape), visual=number,
            attend=arguments.attend if named else min(arguments.attend, number), text=arguments.text,
            context=arguments.context, batch=arguments.batch, share=arguments.share,
            layers=arguments.layers if number <= _LAYERED else 1, dtype=dtype_of(arguments), device=device,
            seed=arguments.seed,
        )
        for number in visual
    ]  # fmt: skip


def _record(tables: list[DecodeTable], about: dict[str, str | int]) -> dict[str, object]:
    """All figures, as JSON has them."""
    from gazekit.bench import versions

    rates = [table.read_rate for table in tables]
    return {
        "results": [asdict(one) for table in tables for one in table.results],
        "dense": [asdict(one) for table in tables for one in table.dense],
        "machine": about | {"read_bytes_per_second": max(rates)},
        "versions": versions(),
    }


def _print(arguments: argparse.Namespace, visual: int, table: DecodeTable) -> None:
    """One table for one number of visual entries."""
    attend, fastest = table.results[0].attend, table.results[0].dense_ms
    title = f"{arguments.shape}, {visual:,} -> {attend:,.0f} visual entries, share {arguments.share}, a layer"
    rows = []
    for dense in table.dense:
        ratio = "" if dense.ms is None else f"{fastest / dense.ms:.2f}"
        rows.append(_row(dense.form, dense, ratio, ""))
    for one in table.results:
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        rows.append(_row(one.backend, one, ratio, "" if one.error is None else f"{one.error:.1e}"))
    print_table((title, "ms", "x dense", "MB", "of limit", "peak MB", "error"), rows)
    sys.stdout.write(f"limit: {table.read_rate / 1e9:.1f} GB/s, one byte after another\n")


def _row(name: str, one: DecodeResult | DenseResult, ratio: str, error: str) -> tuple[str, ...]:
    if one.ms is None:
        return (f"{name}: {one.refused}", "", "", "", "", "", "")
    limit = "" if one.limit is None else f"{one.limit:.0%}"
    peak = "" if one.peak is None else f"{one.peak / 1e6:.1f}"
    return (name, f"{one.ms:.3f}", ratio, f"{one.bytes / 1e6:.1f}", limit, peak, error)


def _plot(path: Path, tables: list[DecodeTable]) -> None:
    from gazekit.view import save_curves

    curves: dict[str, list[tuple[int, float]]] = {"dense, the fastest": []}
    for one in (one for table in tables for one in table.results):
        dense = curves["dense, the fastest"]
        if (one.visual, one.dense_ms) not in dense:
            dense.append((one.visual, one.dense_ms))
        if one.ms is not None:
            curves.setdefault(one.backend, []).append((one.visual, one.ms))
    save_curves(
        path,
        curves,
        title="a decoding step of one layer",
        xlabel="visual entries",
        ylabel="milliseconds",
        log=True,
    )
