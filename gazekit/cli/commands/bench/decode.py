"""`gazekit bench decode`: one generated token over a long visual cache."""

from __future__ import annotations

import argparse
from pathlib import Path

from gazekit.cli.arguments import add_device, add_file, add_lot, add_shape, count, positive
from gazekit.cli.prepare import device_of


def add(kinds: argparse._SubParsersAction) -> None:
    """Adds the kind of measurement."""
    decode = kinds.add_parser(
        "decode",
        help="one generated token over a long visual cache, routing included",
        description="One generated token over a long visual cache, scoring and routing included.",
        epilog="example:\n  gazekit bench decode --shape qwen3-4b --visual 10240 --attend 1536 --share head\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_shape(decode)
    add_lot(decode)
    decode.add_argument(
        "--visual",
        type=positive,
        nargs="+",
        metavar="N",
        help="visual entries (default: 10240; with --plot 1024 to 1048576)",
    )
    decode.add_argument(
        "--attend", type=positive, default=1536, metavar="N", help="visual entries looked at (default: 1536)"
    )
    decode.add_argument("--text", type=count, default=600, metavar="N", help="text entries (default: 600)")
    decode.add_argument(
        "--context",
        type=count,
        default=0,
        metavar="N",
        help="context entries of each 576 visual ones (default: 0)",
    )
    decode.add_argument("--batch", type=positive, default=1, metavar="N", help="samples (default: 1)")
    decode.add_argument(
        "--backend",
        nargs="+",
        default=["native", "gather", "masked"],
        metavar="NAME",
        help="backends to measure, or auto (default: native gather masked)",
    )
    decode.add_argument(
        "--layers",
        type=positive,
        default=8,
        metavar="N",
        help="layers gone through in turn (default: 8); above 163840 visual entries it is 1",
    )
    decode.add_argument("--repeats", type=positive, default=15, metavar="N", help="rounds (default: 15)")
    add_file(decode)
    decode.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw cost against visual entries there (PNG), log-log"
    )
    add_device(decode)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints."""
    from gazekit.cli.bench import decode

    decode(arguments, device_of(arguments))
    return 0
