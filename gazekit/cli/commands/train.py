"""`gazekit train`: what a recipe describes, trained."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gazekit.cli.arguments import OVERRIDES, add_command, add_device, add_recipe, add_resume
from gazekit.cli.prepare import device_of, load_quietly


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    train = add_command(commands, "train", "train what a recipe describes", OVERRIDES)
    add_recipe(train)
    train.add_argument("--out", type=Path, help="folder of the run (default: runs/<name of the recipe>)")
    add_device(train)
    add_resume(train)


def run(arguments: argparse.Namespace) -> int:
    """Trains what a recipe describes."""
    from gazekit.recipe import load
    from gazekit.recipe.train import train as train_recipe
    from gazekit.training.session import is_main_process

    load_quietly()
    recipe = load(arguments.recipe, arguments.overrides)
    out = arguments.out or Path("runs") / recipe.name
    saved = train_recipe(recipe, out=out, device=device_of(arguments), resume=arguments.resume)
    if is_main_process():
        sys.stdout.write(f"saved the model in {saved}\n")
    return 0
