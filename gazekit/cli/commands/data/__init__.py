"""`gazekit data`: what can be done with a data set. One file for each thing to do."""

from __future__ import annotations

import argparse
from types import ModuleType

from gazekit.cli.arguments import add_command
from gazekit.cli.commands.data import check, select

ACTIONS: dict[str, ModuleType] = {"check": check, "select": select}
"""By name, in the order in which help lists them: each has `add(actions)` and `run(arguments)`."""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    data = add_command(commands, "data", "look into a data set")
    actions = data.add_subparsers(dest="data", metavar="WHAT", required=True)
    for action in ACTIONS.values():
        action.add(actions)


def run(arguments: argparse.Namespace) -> int:
    """Does what was asked for."""
    return int(ACTIONS[arguments.data].run(arguments))
