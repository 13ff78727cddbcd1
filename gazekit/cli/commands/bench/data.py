"""`gazekit bench data`: samples a second of one core, against bare decoding of the same files."""

from __future__ import annotations

import argparse
from pathlib import Path

from gazekit.cli.arguments import add_file, count, positive


def add(kinds: argparse._SubParsersAction) -> None:
    """Adds the kind of measurement."""
    data = kinds.add_parser(
        "data",
        help="reading conversations with images and videos, against bare decoding of the same files",
        description="Reading conversations with images and videos, against bare decoding of the same files.",
        epilog="example:\n  gazekit bench data --side 384 --rows 1000000\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    data.add_argument("--images", type=positive, default=64, metavar="N", help="images made (default: 64)")
    data.add_argument("--side", type=positive, default=384, metavar="N", help="in pixels (default: 384)")
    data.add_argument("--repeats", type=positive, default=15, metavar="N", help="rounds (default: 15)")
    data.add_argument(
        "--processor", type=Path, metavar="DIR", help="measure encoding by this processor as well"
    )
    data.add_argument(
        "--rows", type=positive, metavar="N", help="measure the index of a file of N rows as well (1 KB each)"
    )
    data.add_argument(
        "--seconds",
        type=count,
        default=60,
        metavar="N",
        help="length of the video that is read as well; 0 = none (default: 60)",
    )
    add_file(data)


def run(arguments: argparse.Namespace) -> int:
    """Measures and prints."""
    from gazekit.cli.bench_data import bench_data

    bench_data(arguments)
    return 0
