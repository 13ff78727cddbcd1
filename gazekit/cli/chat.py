"""What `gazekit chat` does: a conversation on the terminal, or through a pipe."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gazekit.cli.output import print_error
from gazekit.cli.prepare import device_of, load_quietly, model_folder

if TYPE_CHECKING:
    from gazekit.data import Frames
    from gazekit.data.records import RecordOpener
    from gazekit.models import Talk

COMMANDS = {
    "/image": "FILE: shows an image with the next question",
    "/video": "FILE: shows a video, or a folder of frames, with the next question",
    "/system": "TEXT: begins anew, with this said by the system; without TEXT, with nothing",
    "/reset": "begins anew",
    "/help": "lists these",
    "/quit": "ends the conversation",
}


def chat(arguments: argparse.Namespace) -> int:
    """Talks until /quit or the end of the input.

    Returns:
        1 where lines of a pipe could not be answered, else 0.

    Raises:
        ValueError: A number is out of range, or the model cannot be loaded.
    """
    model = model_folder(arguments.model)
    load_quietly()
    from gazekit.cli.showing import opener_of, sampling_of
    from gazekit.models import Answerer, Talk

    sampling, opener = sampling_of(arguments), opener_of(arguments)
    answerer = Answerer.load(model, device=device_of(arguments), imports=arguments.imports)
    typed = sys.stdin.isatty() and sys.stdout.isatty()
    session = Session(Talk(answerer, system=arguments.system, sampling=sampling), opener, decorated=typed)
    for line in _typed(str(model)) if typed else sys.stdin:
        if not session.take(line.strip()):
            break
    return 1 if session.failed and not typed else 0


class Session:
    """Takes lines: commands, and questions about what commands have shown.

    Args:
        talk: The conversation.
        opener: Opens videos.
        decorated: For a person at a terminal; else answers alone are printed, one after another.

    Attributes:
        failed: Lines that could not be done.
    """

    def __init__(self, talk: Talk, opener: RecordOpener, *, decorated: bool) -> None:
        self.talk, self.opener, self.decorated = talk, opener, decorated
        self.images: list[Path] = []
        self.films: list[Frames] = []
        self.failed = 0

    def take(self, line: str) -> bool:
        """Does what a line says; False = it ends the conversation."""
        if not line:
            return True
        try:
            if line.startswith("/"):
                return self._command(*line.split(maxsplit=1))
            self._ask(line)
        except KeyboardInterrupt:
            if not self.decorated:
                raise
            self._note("\nstopped; the question and what it showed are forgotten")
        except (ValueError, OSError, ImportError) as error:
            self.failed += 1
            print_error(error)
        return True

    def _command(self, name: str, rest: str = "") -> bool:
        file = Path(os.path.expanduser(rest.strip().strip("\"'")))  # ~nobody stays as it is
        if name not in COMMANDS:
            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"there is no {name} (there are {', '.join(COMMANDS)}){hint}")
        if name in ("/image", "/video") and not rest:
            raise ValueError(f"{name} must name a file, as in {name} FILE")
        if name == "/image":
            self._show_image(file)
        elif name == "/video":
            self._show_video(file)
        elif name in ("/system", "/reset"):
            self.talk.system = (rest or None) if name == "/system" else self.talk.system
            self.talk.reset()
            self.images, self.films = [], []
            self._note("the conversation begins anew")
        elif name == "/help":
            sys.stdout.write("".join(f"{one} {what}\n" for one, what in COMMANDS.items()))
        return name != "/quit"

    def _show_image(self, file: Path) -> None:
        from gazekit.cli.showing import check_files
        from gazekit.models.pictures import open_picture

        check_files([file])
        width, height = open_picture(file).size
        self.images.append(file)
        self._note(f"{file.name}: {width} x {height} pixels, with the next question")

    def _show_video(self, file: Path) -> None:
        from gazekit.cli.showing import check_files, watch

        check_files([], [file])
        film = watch(file, self.opener)
        self.films.append(film)
        self._note(
            f"{file.name}: {len(film.images)} frames up to {film.timestamps[-1]:g} s, with the next question"
        )

    def _ask(self, text: str) -> None:
        images, films, self.images, self.films = self.images, self.films, [], []
        self.talk.ask(
            text,
            images=images,
            videos=[list(film.images) for film in films],
            timestamps=[list(film.timestamps) for film in films],
            say=_say,
        )
        sys.stdout.write("\n")
        sys.stdout.flush()

    def _note(self, text: str) -> None:
        """A remark beside the conversation, for a person alone."""
        if self.decorated:
            from rich.console import Console

            Console(highlight=False).print(text, style="dim", markup=False)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _typed(model: str) -> Iterator[str]:
    """What a person types, line by line, with a prompt before each."""
    from contextlib import suppress

    from rich.console import Console

    with suppress(ImportError):
        import readline  # noqa: F401  (lines can be edited and called back once it is loaded)
    console = Console(highlight=False)
    console.rule(f"[bold]{model.replace('[', chr(92) + '[')}")
    console.print("/image FILE shows an image; /help lists the rest; /quit ends", style="dim")
    while True:
        try:
            yield console.input("[bold cyan]> [/]")
        except EOFError:
            console.print()
            return
