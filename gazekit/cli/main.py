"""From the words on the command line to an exit code."""

from __future__ import annotations

import argparse
import difflib
import io
import sys
from collections.abc import Sequence

from gazekit.cli.commands import COMMANDS
from gazekit.cli.output import print_error
from gazekit.cli.parser import build_parser

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The words after `gazekit`; those of the process unless given.

    Returns:
        0 = done; 1 = `check` or `data check` found faults; 2 = it could not be done, and one line on stderr says
        why; 130 = stopped by the keyboard.
    """
    arguments = parse(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # no letter of a data set ends a report about it
    try:
        return int(COMMANDS[arguments.command].run(arguments))
    except KeyboardInterrupt:
        print_error("stopped")
        return INTERRUPTED
    except (ValueError, OSError, ImportError) as error:
        if arguments.debug:
            raise
        print_error(error)
        return 2


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the words. Overrides may stand anywhere after the recipe, options between them.

    Raises:
        SystemExit: They cannot be read (code 2), or help was asked for (code 0).
    """
    parser = build_parser()
    _refuse_unknown_command(parser, argv)
    arguments, rest = parser.parse_known_args(argv)
    takes_overrides = hasattr(arguments, "overrides")
    for word in rest:
        if not takes_overrides or word.startswith("-") or "=" not in word:
            near = difflib.get_close_matches(word, _options(parser, arguments.command), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            parser.error(f"{arguments.command} does not take {word}{hint}")
        arguments.overrides.append(word)
    return arguments


def _refuse_unknown_command(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    word = next((word for word in argv if not word.startswith("-")), None)
    if word is not None and word not in COMMANDS:
        near = difflib.get_close_matches(word, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        parser.error(f"there is no command {word} (there are {', '.join(COMMANDS)}){hint}")


def _options(parser: argparse.ArgumentParser, command: str) -> list[str]:
    """The options of a command."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return list(groups[0].choices[command]._option_string_actions)
