"""What `gazekit bench data` measures and shows."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gazekit.cli.output import check_writable, print_facts, print_table, write_json
from gazekit.cli.prepare import load_quietly


def bench_data(arguments: argparse.Namespace) -> None:
    """Measures reading, and finding rows where asked; prints tables, writes JSON where asked.

    Raises:
        ValueError: An image is too small to be made.
        OSError: The file cannot be written; said before anything is measured.
    """
    load_quietly()
    check_writable(arguments.json)
    from rich.console import Console
    from rich.progress import Progress

    from gazekit.bench import machine, versions
    from gazekit.bench.data import bench_index, bench_reading

    if arguments.side < 6:
        raise ValueError(f"--side must be at least 6 pixels, got {arguments.side}")
    torch.set_num_threads(1)
    index = None
    with tempfile.TemporaryDirectory() as name, Progress(console=Console(stderr=True), transient=True) as bar:
        folder = Path(name)
        if arguments.rows is not None:  # first: memory is measured while little is loaded
            index = bench_index(folder / "big.jsonl", rows=arguments.rows)
        task = bar.add_task("reading", total=arguments.repeats)
        options = {"count": arguments.images, "side": arguments.side, "repeats": arguments.repeats}
        for latest in bench_reading(folder, **options, encode=_encode(arguments)):
            bar.advance(task)
            found = latest
        watched = _watch(arguments, folder, bar)
    title = f"{arguments.images} JPEGs of {arguments.side} x {arguments.side}, one core"
    rows = [(one.form, f"{one.samples_per_second:,.0f}", f"{one.ratio:.1%}") for one in found]
    print_table((title, "samples/s", "of pillow"), rows)
    if watched:
        rows = [(one.form, f"{one.samples_per_second:,.2f}", f"{one.ratio:.1%}") for one in watched]
        title = f"{arguments.seconds} s of 640 x 480, {watched[-1].frames} frames shown, one core"
        print_table((title, "samples/s", "of PyAV"), rows)
    if index is not None:
        print_facts(f"{index.rows:,} rows, {index.bytes / 1e6:,.0f} MB", _index_facts(index))
    about = machine("cpu")
    print_facts("machine", {key: str(value) for key, value in about.items()})
    if arguments.json is not None:
        results = {
            "reading": [asdict(one) for one in found],
            "watching": [asdict(one) for one in watched],
            "index": None if index is None else asdict(index),
        }
        write_json(arguments.json, {**results, "machine": about, "versions": versions()})


def _watch(arguments: argparse.Namespace, folder: Path, bar: Any) -> list[Any]:
    """The figures of a video; none where none is asked for."""
    from gazekit.bench.video import bench_watching

    if arguments.seconds == 0:
        return []
    rounds = min(arguments.repeats, 5)
    task, found = bar.add_task("watching", total=rounds), []
    for latest in bench_watching(folder, seconds=arguments.seconds, repeats=rounds):
        bar.advance(task)
        found = latest
    return found


def _index_facts(index: Any) -> dict[str, str]:
    return {
        "found once in": f"{index.build_seconds:.2f} s",
        "opened again in": f"{index.open_seconds * 1e3:.1f} ms",
        "a row by lot, median": f"{index.median_microseconds:.0f} us",
        "resident memory grew by": f"{index.resident_megabytes:.1f} MB",
    }


def _encode(arguments: argparse.Namespace) -> Any:
    if arguments.processor is None:
        return None
    from gazekit.data.encode import EncodeConversation
    from gazekit.models import CambrianProcessor

    return EncodeConversation(processor=CambrianProcessor.from_pretrained(arguments.processor))
