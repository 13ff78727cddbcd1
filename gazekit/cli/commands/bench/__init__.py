"""`gazekit bench`: how fast gaze is. One file for each kind of measurement."""

from __future__ import annotations

import argparse
from types import ModuleType

from gazekit.cli.arguments import add_command
from gazekit.cli.commands.bench import data, decode, offload, overhead, train

KINDS: dict[str, ModuleType] = {
    "decode": decode,
    "train": train,
    "offload": offload,
    "overhead": overhead,
    "data": data,
}
"""By name, in the order in which help lists them: each has `add(kinds)` and `run(arguments)`."""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    bench = add_command(
        commands, "bench", "measure how fast gaze is, against the fastest dense attention in the same run"
    )
    kinds = bench.add_subparsers(dest="bench", metavar="WHAT", required=True)
    for kind in KINDS.values():
        kind.add(kinds)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints how fast gaze is."""
    return int(KINDS[arguments.bench].run(arguments))
