"""The parser of the whole command line. Nothing here is loaded but the standard library."""

from __future__ import annotations

import argparse

import gazekit
from gazekit.cli.commands import COMMANDS


def build_parser() -> argparse.ArgumentParser:
    """The parser, with every command."""
    parser = argparse.ArgumentParser(
        prog="gazekit", description=gazekit.__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"gazekit {gazekit.__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS.values():
        command.add(commands)
    return parser
