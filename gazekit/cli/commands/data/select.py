"""`gazekit data select`: the rows that a recipe's filters keep, as a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from gazekit.cli.arguments import OVERRIDES, add_command, add_json, count


def add(actions: argparse._SubParsersAction) -> None:
    """Adds the action."""
    select = add_command(
        actions,
        "select",
        "write the rows that the filters of a recipe keep into a new file",
        "example:\n  gazekit data select data/cambrian-s-3m-fifth data/Cambrian-S-3M/video.jsonl --durations\n"
        + OVERRIDES,
    )
    select.add_argument(
        "recipe", metavar="RECIPE", help="whose data names one file, its root and its filters"
    )
    select.add_argument("out", type=Path, metavar="OUT", help="the new file (JSONL)")
    select.add_argument("overrides", metavar="PATH=VALUE", nargs="*", help="changes to the recipe")
    select.add_argument(
        "--durations",
        action="store_true",
        help="measure videos whose rows do not say how long they are, and write it down (video_duration)",
    )
    select.add_argument(
        "--workers", type=count, default=0, metavar="N", help="processes beside this one (default: 0)"
    )
    add_json(select)


def run(arguments: argparse.Namespace) -> int:
    """Selects, and says what was left out."""
    from gazekit.cli.data_select import data_select

    return data_select(arguments)
