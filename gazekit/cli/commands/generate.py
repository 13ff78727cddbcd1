"""`gazekit generate`: a model's answer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gazekit.cli.arguments import add_command, add_device, add_model, positive
from gazekit.cli.prepare import device_of, load_quietly, model_folder


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    generate = add_command(
        commands,
        "generate",
        "answer a question about images",
        'example:\n  gazekit generate demo/model --image X.png --ask "read row 2"\n',
    )
    add_model(generate)
    generate.add_argument(
        "--image", type=Path, action="append", default=[], metavar="FILE", help="an image; may be repeated"
    )
    generate.add_argument("--ask", required=True, metavar="TEXT", help="the question")
    generate.add_argument("--max-new-tokens", type=positive, default=64, metavar="N", help="(default: 64)")
    add_device(generate)


def run(arguments: argparse.Namespace) -> int:
    """Prints a model's answer."""
    model = model_folder(arguments.model)
    for image in arguments.image:
        if not image.is_file():
            raise FileNotFoundError(f"there is no image {image}")
    load_quietly()
    from gazekit.models import generate as answer

    text = answer(
        model,
        images=arguments.image,
        ask=arguments.ask,
        max_new_tokens=arguments.max_new_tokens,
        device=device_of(arguments),
        imports=arguments.imports,
    )
    sys.stdout.write(f"{text}\n")
    return 0
