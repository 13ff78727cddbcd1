"""`gazekit data check`: what is missing, broken, duplicated or too long, by source."""

from __future__ import annotations

import argparse
from pathlib import Path

from gazekit.cli.arguments import add_command, add_json, count, positive


def add(actions: argparse._SubParsersAction) -> None:
    """Adds the action."""
    check = add_command(
        actions,
        "check",
        "say what is missing, broken, duplicated or too long in a data set, by source",
        "examples:\n  gazekit data check train.jsonl --root images\n"
        "  gazekit data check train.json --root images --quarantine broken.jsonl --workers 8\n",
    )
    check.add_argument("file", type=Path, metavar="FILE", help="JSONL, or a JSON array")
    check.add_argument(
        "--root", type=Path, metavar="DIR", help="folder of its images (default: that of FILE)"
    )
    check.add_argument(
        "--quick",
        action="store_true",
        help="read headers of images, see that videos are there, decode nothing",
    )
    check.add_argument(
        "--max-images", type=positive, default=64, metavar="N", help="images of a sample (default: 64)"
    )
    check.add_argument(
        "--max-pixels",
        type=positive,
        default=89_478_485,
        metavar="N",
        help="pixels of an image (default: 89478485)",
    )
    check.add_argument(
        "--max-tokens", type=positive, metavar="N", help="tokens of a sample, counted by --processor"
    )
    check.add_argument(
        "--processor", type=Path, metavar="DIR", help="folder of a saved Cambrian, or of its processor"
    )
    check.add_argument(
        "--examples", type=count, default=3, metavar="N", help="rows shown of each fault (default: 3)"
    )
    check.add_argument(
        "--quarantine", type=Path, metavar="FILE", help="append all rows with faults there, one a line"
    )
    check.add_argument(
        "--workers", type=count, default=0, metavar="N", help="processes beside this one (default: 0)"
    )
    add_json(check)


def run(arguments: argparse.Namespace) -> int:
    """Checks, prints, and answers 1 where there are faults."""
    from gazekit.cli.data_check import data_check

    return data_check(arguments)
