"""`gazekit check`: the faults of a recipe."""

from __future__ import annotations

import argparse
import sys

from gazekit.cli.arguments import OVERRIDES, add_command, add_recipe
from gazekit.cli.output import print_faults


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    check = add_command(
        commands, "check", "say everything that is wrong with a recipe; nothing is built", OVERRIDES
    )
    add_recipe(check)


def run(arguments: argparse.Namespace) -> int:
    """Lists the faults of a recipe."""
    from gazekit.recipe import check as faults_of

    faults = faults_of(arguments.recipe, arguments.overrides)
    if faults:
        print_faults(faults)
        return 1
    sys.stdout.write(f"{arguments.recipe}: no faults\n")
    return 0
