"""What `gazekit generate` does."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from gazekit.cli.answers import Answers
from gazekit.cli.prepare import device_of, load_quietly, model_folder


def generate(arguments: argparse.Namespace) -> int:
    """Answers.

    Returns:
        1 where some prompts have no answer, else 0.

    Raises:
        ValueError: Options do not go together, or what is asked about cannot be shown.
        FileNotFoundError: A file is not there.
    """
    _refuse(arguments)
    model = model_folder(arguments.model)
    for folder in (arguments.folder, arguments.root):
        if folder is not None and not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
    if arguments.prompts is not None and not arguments.prompts.is_file():
        raise FileNotFoundError(f"there is no file {arguments.prompts}")
    _spare(arguments)
    load_quietly()
    if arguments.folder is None and arguments.prompts is None:
        return _one(arguments, model)
    return _many(arguments, model)


def _refuse(arguments: argparse.Namespace) -> None:
    """Says which options do not go together."""
    many = arguments.folder or arguments.prompts
    if (arguments.ask is None) == (arguments.prompts is None):
        raise ValueError("--ask must be given, or --prompts, whose rows ask for themselves")
    if many and (arguments.image or arguments.video):
        raise ValueError("--image and --video must be left out beside --folder and --prompts")
    if arguments.out and not many:
        raise ValueError("--out must be left out for a single question; redirect what is printed")
    if arguments.root and not arguments.prompts:
        raise ValueError("--root must be left out without --prompts")


def _spare(arguments: argparse.Namespace) -> None:
    """Refuses to write answers over what asks for them."""
    out = arguments.out
    if out is None or not out.exists():
        return
    if arguments.prompts is not None and out.samefile(arguments.prompts):
        raise ValueError(f"--out must be another file than --prompts, got {out} for both; name a new one")
    if not out.is_file():
        raise ValueError(f"--out must be a file, {out} is none; name a file in it, as in {out}/answers.jsonl")


def _one(arguments: argparse.Namespace, model: Path) -> int:
    """A single question, answered on the terminal."""
    from gazekit.cli.showing import check_files, opener_of, sampling_of, watch
    from gazekit.models import Answerer, Question

    check_files(arguments.image, arguments.video)
    sampling, opener = sampling_of(arguments), opener_of(arguments)
    films = [watch(video, opener) for video in arguments.video]
    shown = [{"type": "image"} for _ in arguments.image] + [{"type": "video"} for _ in films]
    question = Question(
        messages=[{"role": "user", "content": [*shown, {"type": "text", "text": arguments.ask}]}],
        images=arguments.image,
        videos=[list(film.images) for film in films],
        timestamps=[list(film.timestamps) for film in films],
    )
    answerer = Answerer.load(model, device=device_of(arguments), imports=arguments.imports)
    if arguments.no_stream:
        sys.stdout.write(answerer.answer([question], sampling)[0])
    else:
        answerer.stream(question, _say, sampling)
    sys.stdout.write("\n")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _many(arguments: argparse.Namespace, model: Path) -> int:
    """Prompts in batches, their answers written as they come."""
    from rich.console import Console
    from rich.progress import Progress

    from gazekit.cli.prompts import answered, batches, prompts_of
    from gazekit.cli.showing import opener_of, sampling_of
    from gazekit.models import Answerer

    sampling, opener, prompts = sampling_of(arguments), opener_of(arguments), prompts_of(arguments)
    answers = Answers(arguments.out, resume=arguments.resume)
    console, count = Console(stderr=True), Counter[str]()
    answerer: Answerer | None = None
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("answering", total=len(prompts))
        for batch in batches(prompts, opener, answers, arguments.batch_size):
            if answerer is None and any(one.question is not None for one in batch.asked):
                answerer = Answerer.load(model, device=device_of(arguments), imports=arguments.imports)
            count["skipped"] += batch.skipped
            for row in answered(answerer, batch.asked, sampling):
                count["answered" if "answer" in row else "failed"] += 1
                answers.write(row)
            bar.update(task, completed=count.total())
    told = ", ".join(f"{count[what]} {what}" for what in ("answered", "failed", "skipped") if count[what])
    console.print(told or "no prompts", highlight=False)
    return 1 if count["failed"] else 0
