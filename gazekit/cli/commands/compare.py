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
        "say whether one evaluation is better than another",
        "examples:\n  gazekit compare runs/dense runs/gaze\n"
        "  gazekit compare runs/gaze/gqa-gaze.json runs/gaze/gqa-dense.json --json\n",
    )
    what = "a result of gazekit evaluate, or a folder of them"
    compare.add_argument("first", type=Path, metavar="A", help=what)
    compare.add_argument("second", type=Path, metavar="B", help=what)
    compare.add_argument(
        "--resamples", type=positive, default=2000, metavar="N", help="draws of the bootstrap (default: 2000)"
    )
    compare.add_argument("--seed", type=count, default=0, metavar="N", help="of the draws (default: 0)")
    add_json(compare)


def run(arguments: argparse.Namespace) -> int:
    """Compares and prints."""
    from gazekit.cli.compare import compare_all, print_comparisons, table_of

    found = compare_all(arguments.first, arguments.second, resamples=arguments.resamples, seed=arguments.seed)
    if arguments.json:
        print_json({"comparisons": [table_of(one) for one in found]})
    else:
        print_comparisons(found)
    return 0
