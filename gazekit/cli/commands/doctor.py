"""`gazekit doctor`: what is here and what is not."""

from __future__ import annotations

import argparse
import sys

from gazekit.cli.arguments import add_command
from gazekit.cli.output import print_facts


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    doctor = add_command(
        commands, "doctor", "say what is installed, which devices and backends can be used, and why not"
    )
    doctor.add_argument(
        "--build",
        action="store_true",
        help="build the native CPU kernel first (a few seconds, kept for later runs)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what is here and what is not."""
    from gazekit.cli.doctor import examine

    if arguments.build:
        from gazekit.kernels import native

        built = native.build()
        code = "AVX-512" if native.is_vectorised() else "portable code"
        sys.stdout.write(f"native kernel: {built} ({code})\n")
    for title, facts in examine().items():
        print_facts(title, facts)
    return 0
