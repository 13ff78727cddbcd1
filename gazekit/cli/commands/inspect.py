"""`gazekit inspect`: what a model is made of."""

from __future__ import annotations

import argparse

from gazekit.cli.arguments import add_command, add_device, add_json, pair, positive
from gazekit.cli.output import print_json
from gazekit.cli.prepare import load_quietly


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    inspect = add_command(
        commands,
        "inspect",
        "say what a model is made of and what gaze does to it; no weights are read",
        "examples:\n  gazekit inspect tiny --json\n"
        "  gazekit inspect my-vlm --gaze tiny gaze.route.k=8 --image 448x672\n",
    )
    inspect.add_argument(
        "target",
        metavar="TARGET",
        help="a recipe, the folder of a model, or its name on the hub (owner/name)",
    )
    inspect.add_argument("overrides", metavar="PATH=VALUE", nargs="*", help="changes to the recipe")
    inspect.add_argument("--gaze", metavar="RECIPE", help="take the gaze section of this recipe")
    inspect.add_argument(
        "--image",
        type=pair("image", "heightxwidth in pixels", "448x448"),
        metavar="HxW",
        help="size of an image in pixels, for models that take any (default: the model's own, else 448x448)",
    )
    inspect.add_argument(
        "--frames",
        type=positive,
        default=1,
        metavar="N",
        help="a video of so many frames in place of an image",
    )
    inspect.add_argument(
        "--imports",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="modules or .py files that the gaze may name",
    )
    add_device(inspect)
    add_json(inspect)


def run(arguments: argparse.Namespace) -> int:
    """Prints what a model is made of and what gaze does to it."""
    load_quietly()
    from gazekit.cli.inspect import inspect as look_into
    from gazekit.cli.tables import print_anatomy

    found = look_into(
        arguments.target,
        gaze=arguments.gaze,
        overrides=arguments.overrides,
        image=arguments.image,
        frames=arguments.frames,
        imports=arguments.imports,
        device=arguments.device,
    )
    (print_json if arguments.json else print_anatomy)(found)
    return 0
