"""What several commands take, and how their words are read. Nothing here is loaded but the standard library."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

OVERRIDES = """
overrides:
  path=value each, the value in YAML. A new _target_ replaces the part.
    gaze.route.k=8
    training.stages.0.steps=100
    gaze.route._target_=gazekit.route.RandomRouter
"""
"""Help on overrides."""


def add_command(
    commands: argparse._SubParsersAction, name: str, what: str, epilog: str = ""
) -> argparse.ArgumentParser:
    """A command, with its line in the list of all and its own help.

    Args:
        commands: What argparse hands out for sub-commands.
        name: As it is typed.
        what: What it does, as help says it.
        epilog: Examples below the options.
    """
    return commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Adds a recipe and its overrides."""
    parser.add_argument("recipe", metavar="RECIPE", help="a name (tiny) or a path (my.yaml)")
    parser.add_argument("overrides", metavar="PATH=VALUE", nargs="*", help="changes to the recipe")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the folder of a saved model."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of a saved model")
    parser.add_argument(
        "--imports",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="modules or .py files of your own that the model's gaze may name",
    )


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Adds how answers are made and how much of a video is shown."""
    parser.add_argument(
        "--max-new-tokens", type=positive, default=64, metavar="N", help="of an answer (default: %(default)s)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        metavar="T",
        help="how freely words are drawn; 0 takes the likeliest (default)",
    )
    parser.add_argument(
        "--top-p", type=float, default=1.0, metavar="P", help="draw from the likeliest words of this share"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws (default: 0)")
    parser.add_argument(
        "--fps", type=float, default=1.0, metavar="R", help="frames of a video a second (default: 1)"
    )
    parser.add_argument(
        "--max-frames", type=positive, default=128, metavar="N", help="of a video at most (default: 128)"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds `--device`."""
    parser.add_argument(
        "--device",
        default="auto",
        help="auto (CUDA, MPS, CPU), cpu, mps, cuda or cuda:<number> (default: auto)",
    )


def add_shape(parser: argparse.ArgumentParser) -> None:
    """Adds `--shape`, a decoder by name or by numbers."""
    parser.add_argument(
        "--shape",
        default="qwen3-4b",
        metavar="SHAPE",
        help="qwen3-4b, qwen2.5-7b, tiny, or layers,heads,kv_heads,head_dim[,hidden_dim] (default: qwen3-4b)",
    )


def add_lot(parser: argparse.ArgumentParser) -> None:
    """Adds who chooses among keys and values by lot, what they are of, and how many threads compute with them."""
    parser.add_argument(
        "--share", choices=("head", "group"), default="head", help="who chooses regions (default: head)"
    )
    parser.add_argument(
        "--dtype", choices=("bf16", "fp32"), default="bf16", help="of keys and values (default: bf16)"
    )
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="CPU threads (default: 1)")
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="seed of the lot (default: 0)")


def add_file(parser: argparse.ArgumentParser) -> None:
    """Adds `--json` with a file."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Adds `--resume` and `--fresh`."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--resume",
        dest="resume",
        action="store_true",
        default=True,
        help="go on where an earlier run in the same folder stopped (default)",
    )
    choice.add_argument("--fresh", dest="resume", action="store_false", help="start from nothing")


def positive(text: str) -> int:
    """Reads a whole number of at least 1."""
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def count(text: str) -> int:
    """Reads a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def pair(name: str, what: str, example: str) -> Callable[[str], tuple[int, int]]:
    """Reads two numbers with an x between them."""

    def read(text: str) -> tuple[int, int]:
        first, cross, second = text.partition("x")
        if not (cross and first.isdecimal() and second.isdecimal() and int(first) and int(second)):
            raise argparse.ArgumentTypeError(f"{name} must be {what}, as in {example}, got {text!r}")
        return int(first), int(second)

    return read


def size(text: str) -> tuple[int, int, int]:
    """Reads a region's frames, rows and columns."""
    numbers = text.split(",")
    if len(numbers) != 3 or not all(word.isdecimal() and int(word) for word in numbers):
        raise argparse.ArgumentTypeError(
            f"size must be frames,rows,columns of a region in tokens, as in 1,6,6, got {text!r}"
        )
    return int(numbers[0]), int(numbers[1]), int(numbers[2])
