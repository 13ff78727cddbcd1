"""`gazekit demo`: the small Cambrian, trained, compared, shown."""

from __future__ import annotations

import argparse
from pathlib import Path

from gazekit.cli.arguments import add_command, add_device, add_resume
from gazekit.cli.prepare import device_of, load_quietly


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    demo = add_command(
        commands,
        "demo",
        "train a small Cambrian with gaze and a dense one, compare them and show where gaze looks",
        "example:\n  gazekit demo --out demo\n",
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder of the results (default: demo)")
    demo.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    demo.add_argument("--quick", action="store_true", help="about one minute, with no promise of quality")
    add_device(demo)
    add_resume(demo)


def run(arguments: argparse.Namespace) -> int:
    """Trains, compares and shows the small Cambrian."""
    load_quietly()
    from gazekit.demo import run

    run(
        out=arguments.out,
        seed=arguments.seed,
        quick=arguments.quick,
        device=device_of(arguments),
        resume=arguments.resume,
    )
    return 0
