"""`gazekit generate`: a model's answers."""

from __future__ import annotations

import argparse
from pathlib import Path

from gazekit.cli.arguments import add_command, add_device, add_model, add_resume, add_sampling, positive


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    generate = add_command(
        commands,
        "generate",
        "answer questions about images and videos",
        'examples:\n  gazekit generate demo/model --image X.png --ask "read row 2"\n'
        '  gazekit generate my-model --folder pictures --ask "what is this?" --out answers.jsonl\n'
        "  gazekit generate my-model --prompts prompts.jsonl --batch-size 16 --out answers.jsonl\n",
    )
    add_model(generate)
    generate.add_argument("--ask", metavar="TEXT", help="the question")
    generate.add_argument(
        "--image", type=Path, action="append", default=[], metavar="FILE", help="an image; may be repeated"
    )
    generate.add_argument(
        "--video",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a video file, or a folder of frames; may be repeated",
    )
    many = generate.add_mutually_exclusive_group()
    many.add_argument("--folder", type=Path, metavar="DIR", help="ask the question about each image in it")
    many.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="JSONL of questions: ask, and as wanted id, image, images, video, start, end",
    )
    generate.add_argument(
        "--root", type=Path, metavar="DIR", help="folder that prompts name files in (default: that of FILE)"
    )
    generate.add_argument(
        "--batch-size", type=positive, default=8, metavar="N", help="prompts at once (default: 8)"
    )
    generate.add_argument(
        "--out", type=Path, metavar="FILE", help="JSONL of answers, one a prompt (default: the terminal)"
    )
    generate.add_argument(
        "--no-stream", action="store_true", help="print the answer at once, not word by word"
    )
    add_sampling(generate)
    add_device(generate)
    add_resume(generate)


def run(arguments: argparse.Namespace) -> int:
    """Prints or writes answers; answers 1 where some prompts have none."""
    from gazekit.cli.generate import generate

    return generate(arguments)
