"""`gazekit compare`: two evaluations side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from gazekit.cli.arguments import add_command, add_json, count, positive
from gazekit.cli.output import print_json


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    compare = add_command(
        commands,
        "compare",
        "say whether one evaluation is better than another, or beside the published figures",
        "examples:\n  gazekit compare runs/dense runs/gaze\n"
        "  gazekit compare runs/gaze/gqa-gaze.json runs/gaze/gqa-dense.json --json\n"
        "  gazekit compare runs/gaze --published\n",
    )
    what = "a result of gazekit evaluate, or a folder of them"
    compare.add_argument("first", type=Path, metavar="A", help=what)
    compare.add_argument("second", type=Path, metavar="B", nargs="?", help=what)
    compare.add_argument(
        "--published", action="store_true", help="put the figures of the paper beside A, and B where given"
    )
    compare.add_argument(
        "--resamples", type=positive, default=2000, metavar="N", help="draws of the bootstrap (default: 2000)"
    )
    compare.add_argument("--seed", type=count, default=0, metavar="N", help="of the draws (default: 0)")
    add_json(compare)


def run(arguments: argparse.Namespace) -> int:
    """Compares and prints."""
    from gazekit.cli.compare import (
        beside_published,
        compare_all,
        print_comparisons,
        print_published,
        table_of,
    )

    if arguments.second is None and not arguments.published:
        raise ValueError("compare needs B, or --published to put the paper's figures beside A")
    found: dict[str, object] = {}
    if arguments.second is not None:
        comparisons = compare_all(
            arguments.first, arguments.second, resamples=arguments.resamples, seed=arguments.seed
        )
        found["comparisons"] = [table_of(one) for one in comparisons]
        if not arguments.json:
            print_comparisons(comparisons)
    if arguments.published:
        paths = [path for path in (arguments.first, arguments.second) if path is not None]
        published = beside_published(paths)
        found["published"] = published
        if not arguments.json:
            print_published(published)
    if arguments.json:
        print_json(found)
    return 0
