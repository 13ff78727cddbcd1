"""What `gazekit bench train` measures and shows."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from gazekit.cli.output import check_writable, print_facts, print_table, write_json
from gazekit.cli.prepare import dtype_of

if TYPE_CHECKING:
    from gazekit.bench import TrainResult


def train(arguments: argparse.Namespace, device: str) -> None:
    """Measures a training step for each number of visual tokens; prints a table, writes JSON where asked.

    Raises:
        ValueError: A shape or backend is not known, or more is looked at than there is.
        OSError: The file cannot be written; said before anything is measured.
    """
    from rich.console import Console
    from rich.progress import Progress

    from gazekit.bench import TrainShape, bench_train, machine, versions
    from gazekit.bench.decoder import MLP_DIMS
    from gazekit.gaze import shape_of

    check_writable(arguments.json)
    sizes = shape_of(arguments.shape)
    mlp_dim = arguments.mlp or MLP_DIMS.get(arguments.shape, 3 * sizes.hidden_dim)
    threads = torch.get_num_threads()
    torch.set_num_threads(arguments.threads)
    results: list[TrainResult] = []
    try:
        about = machine(device)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            for visual in arguments.visual:
                shape = TrainShape(
                    sizes=sizes, mlp_dim=mlp_dim, visual=visual, attend=arguments.attend, text=arguments.text,
                    context=arguments.context, batch=arguments.batch, scope=arguments.scope, layers=arguments.layers,
                    share=arguments.share, dtype=dtype_of(arguments), device=device, seed=arguments.seed,
                )  # fmt: skip
                task = progress.add_task(f"{visual:,} visual tokens", total=arguments.repeats)
                for found in bench_train(shape, arguments.backend, repeats=arguments.repeats):
                    progress.advance(task)
                    latest = found
                results += latest
                progress.stop_task(task)
                _print_train(arguments, latest)
                if arguments.json is not None:
                    table = {
                        "results": [asdict(one) for one in results],
                        "machine": about,
                        "versions": versions(),
                    }
                    write_json(arguments.json, table)
    finally:
        torch.set_num_threads(threads)
    print_facts("machine", {name: str(value) for name, value in about.items()})


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
