"""The command line: `gazekit COMMAND`."""

from gazekit.cli.main import main

__all__ = ["main"]
