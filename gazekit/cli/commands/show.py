"""`gazekit show`: a recipe as it was resolved."""

from __future__ import annotations

import argparse
import sys

from gazekit.cli.arguments import OVERRIDES, add_command, add_recipe


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    show = add_command(
        commands, "show", "print what a recipe comes to with its bases and overrides", OVERRIDES
    )
    add_recipe(show)


def run(arguments: argparse.Namespace) -> int:
    """Prints a recipe as it was resolved."""
    from gazekit.recipe import load
    from gazekit.recipe import show as text_of

    sys.stdout.write(text_of(load(arguments.recipe, arguments.overrides)))
    return 0
