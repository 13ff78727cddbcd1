"""What `gazekit bench` measures and shows."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gazekit.cli.output import print_facts, print_table

if TYPE_CHECKING:
    from gazekit.bench import DecodeResult, TrainResult

_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def decode(arguments: argparse.Namespace, device: str) -> None:
    """Measures decoding for each number of visual entries; prints a table, writes JSON and a picture where asked.

    Raises:
        ValueError: A shape or backend is not known, or more is looked at than there is.
    """
    from rich.console import Console
    from rich.progress import Progress

    from gazekit.bench import DecodeShape, bench_decode, machine, versions
    from gazekit.gaze import shape_of
    from gazekit.kernels import native

    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    try:
        if "native" in arguments.backend and native.unbuildable() is None:
            native.build()
        shapes = [
            DecodeShape(
                sizes=shape_of(arguments.shape), visual=visual, attend=arguments.attend, text=arguments.text,
                context=arguments.context, batch=arguments.batch, share=arguments.share, layers=arguments.layers,
                dtype=_DTYPES[arguments.dtype], device=device, seed=arguments.seed,
            )
            for visual in arguments.visual
        ]  # fmt: skip
        results: list[DecodeResult] = []
        about = machine(device)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for shape in shapes:
                task = progress.add_task(f"{shape.visual:,} visual entries", total=arguments.repeats)
                for found, dense in bench_decode(shape, arguments.backend, repeats=arguments.repeats):
                    progress.advance(task)
                    latest = found, dense
                results += latest[0]
                progress.stop_task(task)
                _print(arguments, shape.visual, *latest)
    finally:
        torch.set_num_threads(threads)
    print_facts("machine", {name: str(value) for name, value in about.items()})
    if arguments.json is not None:
        table = {"results": [asdict(one) for one in results], "machine": about, "versions": versions()}
        _write(arguments.json, json.dumps(table, indent=2) + "\n")
    if arguments.plot is not None:
        _plot(arguments.plot, results)


def train(arguments: argparse.Namespace, device: str) -> None:
    """Measures a training step for each number of visual tokens; prints a table, writes JSON where asked.

    Raises:
        ValueError: A shape or backend is not known, or more is looked at than there is.
    """
    from rich.console import Console
    from rich.progress import Progress

    from gazekit.bench import TrainShape, bench_train, machine, versions
    from gazekit.bench.decoder import MLP_DIMS
    from gazekit.gaze import shape_of

    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    sizes = shape_of(arguments.shape)
    mlp_dim = arguments.mlp or MLP_DIMS.get(arguments.shape, 3 * sizes.hidden_dim)
    results: list[TrainResult] = []
    try:
        about = machine(device)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for visual in arguments.visual:
                shape = TrainShape(
                    sizes=sizes, mlp_dim=mlp_dim, visual=visual, attend=arguments.attend, text=arguments.text,
                    context=arguments.context, batch=arguments.batch, scope=arguments.scope, layers=arguments.layers,
                    share=arguments.share, dtype=_DTYPES[arguments.dtype], device=device, seed=arguments.seed,
                )  # fmt: skip
                task = progress.add_task(f"{visual:,} visual tokens", total=arguments.repeats)
                for found in bench_train(shape, arguments.backend, repeats=arguments.repeats):
                    progress.advance(task)
                    latest = found
                results += latest
                progress.stop_task(task)
                _print_train(arguments, latest)
    finally:
        torch.set_num_threads(threads)
    print_facts("machine", {name: str(value) for name, value in about.items()})
    if arguments.json is not None:
        table = {"results": [asdict(one) for one in results], "machine": about, "versions": versions()}
        _write(arguments.json, json.dumps(table, indent=2) + "\n")


def _print_train(arguments: argparse.Namespace, found: list[TrainResult]) -> None:
    """One table for one number of visual tokens."""
    of = "attention of a layer" if arguments.scope == "attention" else f"{arguments.layers} whole layers"
    title = f"{arguments.shape}, a step of {of}, {found[0].visual:,} visual of {found[0].tokens:,} tokens"
    rows = []
    for one in found:
        if one.ms is None or one.peak_bytes is None or one.tokens_per_second is None:
            rows.append((f"{one.backend}: {one.refused}", "", "", "", "", ""))
            continue
        over = f"{one.time_over_dense:.2f}", f"{one.memory_over_dense:.2f}"
        memory = f"{one.peak_bytes / 1e6:,.0f}"
        rows.append(
            (one.backend, f"{one.ms:,.1f}", over[0], memory, over[1], f"{one.tokens_per_second:,.0f}")
        )
    print_table((title, "ms", "x dense", "peak MB", "x dense", "tokens/s"), rows)


def _print(
    arguments: argparse.Namespace, visual: int, found: list[DecodeResult], dense: dict[str, float]
) -> None:
    """One table for one number of visual entries."""
    attend = found[0].attend
    title = f"{arguments.shape}, {visual:,} -> {attend:,.0f} visual entries, share {arguments.share}, a layer"
    rows = [(name, f"{ms:.3f}", f"{min(dense.values()) / ms:.2f}", "", "") for name, ms in dense.items()]
    for one in found:
        if one.ms is None or one.ratio is None or one.error is None:
            rows.append((f"{one.backend}: {one.refused}", "", "", "", ""))
        else:
            read = f"{one.bytes / 1e6:.1f}"
            rows.append((one.backend, f"{one.ms:.3f}", f"{one.ratio:.2f}", read, f"{one.error:.1e}"))
    print_table((title, "ms", "x dense", "MB", "error"), rows)


def _plot(path: Path, results: list[DecodeResult]) -> None:
    from gazekit.view import save_curves

    curves: dict[str, list[tuple[int, float]]] = {}
    for one in results:
        dense = curves.setdefault("dense, the fastest", [])
        if (one.visual, one.dense_ms) not in dense:
            dense.append((one.visual, one.dense_ms))
        if one.ms is not None:
            curves.setdefault(one.backend, []).append((one.visual, one.ms))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_curves(
        path,
        curves,
        title="a decoding step of one layer",
        xlabel="visual entries",
        ylabel="milliseconds",
        log=True,
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
