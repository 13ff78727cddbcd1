"""What `gazekit data check` does and prints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gazekit.cli.output import print_json, print_table
from gazekit.cli.prepare import load_quietly

if TYPE_CHECKING:
    from gazekit.data.check import Report
    from gazekit.data.conversation import Conversation
    from gazekit.data.encode import EncodeConversation


def data_check(arguments: argparse.Namespace) -> int:
    """Checks a file.

    Returns:
        1 where faults were found, else 0.

    Raises:
        ValueError: Options do not go together, or the file is nothing that can be read.
    """
    if (arguments.processor is None) != (arguments.max_tokens is None) or (
        arguments.processor and arguments.quick
    ):
        raise ValueError("--processor and --max-tokens must be given together, and not with --quick")
    kept, file = arguments.quarantine, arguments.file
    if kept and kept.exists() and file.exists() and kept.samefile(file):
        raise ValueError(
            f"--quarantine must be another file than the data, got {file} for both; name a new one"
        )
    load_quietly()
    from gazekit.data import JsonSource, Limits
    from gazekit.data.check import RowCheck, check_rows
    from gazekit.data.quarantine import Quarantine
    from gazekit.data.records import RecordOpener
    from gazekit.data.video import PyAVReader

    limits = Limits(images=arguments.max_images, pixels=arguments.max_pixels, tokens=arguments.max_tokens)
    root = None if arguments.root is None else str(arguments.root)
    with bar("finding rows") as progress:
        source = JsonSource(path=str(arguments.file), root=root).open(progress)
    with bar("checking rows") as progress:
        report = check_rows(
            RowCheck(
                source=source,
                opener=RecordOpener(limits=limits, video=PyAVReader()),
                header_only=arguments.quick,
                length=_length(arguments),
            ),
            workers=arguments.workers,
            examples=arguments.examples,
            quarantine=Quarantine(arguments.quarantine) if arguments.quarantine else None,
            progress=progress,
        )
    if arguments.json:
        print_json({"file": str(arguments.file), **report.as_dict()})
    else:
        _print(report)
    return 1 if report.num_faulty else 0


@dataclass(frozen=True)
class _Length:
    """Tokens of a conversation, as its encoder counts them."""

    encode: EncodeConversation

    def __call__(self, talk: Conversation) -> int:
        return int(self.encode(talk)["input_ids"].shape[-1])


def _length(arguments: argparse.Namespace) -> _Length | None:
    if arguments.processor is None:
        return None
    from gazekit.data.encode import EncodeConversation
    from gazekit.models import CambrianProcessor

    processor: Any = CambrianProcessor.from_pretrained(arguments.processor)
    return _Length(EncodeConversation(processor=processor))


def _print(report: Report) -> None:
    sources = {source: report.columns(source) for source in sorted(report.rows)}
    total = {
        name: sum(columns[name] for columns in sources.values()) for name in next(iter(sources.values()), {})
    }
    header = ("source", *(name.replace("_", " ") for name in total))
    rows = [
        (source, *(f"{count:,}" if count else "" for count in one.values()))
        for source, one in sources.items()
    ]
    if len(sources) > 1:
        rows.append(("all", *(f"{count:,}" if count else "" for count in total.values())))
    print_table(header, rows)
    for one in report.examples:
        named = f"row {one.row}" + (f" ({one.name})" if one.name else "")
        sys.stdout.write(f"{one.source}, {named}: {one.kind}: {one.message}\n")
    sys.stdout.write(
        f"{report.num_faulty:,} of {report.rows.total():,} rows have faults\n"
        if report.num_faulty
        else "no faults\n"
    )


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, gone once it is done."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
