"""`gazekit bench offload`: decoding with the visual cache off the device."""

from __future__ import annotations

import argparse
from pathlib import Path

from gazekit.cli.arguments import add_device, add_file, add_lot, add_shape, count, positive
from gazekit.cli.prepare import device_of


def add(kinds: argparse._SubParsersAction) -> None:
    """Adds the kind of measurement."""
    offload = kinds.add_parser(
        "offload",
        help="decoding with the visual cache in the host's memory or in a file: what is held, what moves",
        description="Decoding with the visual cache in the host's memory or in a file: time, hits, bytes.",
        epilog="examples:\n  gazekit bench offload --shape qwen3-4b --layers 4 --visual 10240 --attend 1536\n"
        "  gazekit bench offload --layers 2 --visual 1000000 --tier memory_mapped --alone --sweep\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_shape(offload)
    add_lot(offload)
    numbers = (
        ("--visual", positive, 10240, "visual entries"),
        ("--attend", positive, 1536, "visual entries looked at"),
        ("--text", count, 600, "text entries"),
        ("--context", count, 0, "context entries of each 576 visual ones"),
        ("--batch", positive, 1, "samples"),
        ("--layers", positive, 4, "layers gone through in turn"),
        ("--steps", positive, 32, "decoding steps"),
    )
    for name, kind, default, what in numbers:
        offload.add_argument(
            name, type=kind, default=default, metavar="N", help=f"{what} (default: {default})"
        )
    offload.add_argument(
        "--tier",
        choices=("pinned", "memory_mapped"),
        default="pinned",
        help="the host's memory, or a file (default: pinned)",
    )
    offload.add_argument(
        "--slots",
        type=float,
        nargs="+",
        default=[1.25],
        metavar="X",
        help="regions in the hot buffer of each KV head, as multiples of those that a head looks at (default: 1.25)",
    )
    offload.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="where the file lies (default: the system's temporary folder)",
    )
    offload.add_argument(
        "--drift",
        type=float,
        default=0.1,
        metavar="X",
        help="share of each query's variance that is new in each step (default: 0.1)",
    )
    offload.add_argument(
        "--alone",
        action="store_true",
        help="do not compare with a resident store, which needs memory for all",
    )
    offload.add_argument(
        "--sweep",
        action="store_true",
        help="bring in every region once, and compare it with what was written",
    )
    add_file(offload)
    add_device(offload)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints."""
    from gazekit.cli.bench_offload import offload

    offload(arguments, device_of(arguments))
    return 0
