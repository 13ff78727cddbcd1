"""What an evaluation has answered so far, kept on disk while it runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gazekit.evaluate.results import Record


@dataclass(frozen=True)
class Answered:
    """One batch.

    Attributes:
        records: Its samples.
        backends: Classes of the backends that attended.
    """

    records: Sequence[Record]
    backends: Sequence[str] = ()


class Journal:
    """Batches of records, one a line, each on disk before the next is asked.

    Several processes write a file each, and read all of them when they begin: what any of them had answered is not
    asked again, however many there are now. A line that was cut short counts as not written.

    Args:
        folder: Where the files are.
        stem: What they are called after.
        rank: Of this process.
        settings: What decides the answers; files that were begun with others are refused.

    Raises:
        ValueError: A file was begun with other settings.
    """

    def __init__(self, folder: Path, stem: str, rank: int, settings: Mapping[str, Any]) -> None:
        self.folder, self.stem = folder, stem
        self.path = folder / f"{stem}.partial-{rank}.jsonl"
        self.settings = json.loads(json.dumps(settings))
        folder.mkdir(parents=True, exist_ok=True)
        self.done: dict[int, Answered] = {}
        for path in self.files():
            self._read(path)

    def files(self) -> list[Path]:
        """All processes' files."""
        return sorted(self.folder.glob(f"{self.stem}.partial-*.jsonl"))

    def add(self, batch: int, answered: Answered) -> None:
        """Writes a batch down."""
        whole = _whole(self.path)
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.truncate(whole)
            file.seek(whole)
            if not whole:
                file.write(_line({"settings": self.settings}))
            file.write(_line({"batch": batch, **asdict(answered)}))
            file.flush()
            os.fsync(file.fileno())
        self.done[batch] = answered

    def forget(self) -> None:
        """Removes all processes' files."""
        for path in self.files():
            path.unlink(missing_ok=True)

    def _read(self, path: Path) -> None:
        lines = path.read_bytes()[: _whole(path)].splitlines()
        if not lines:
            return
        begun = json.loads(lines[0])["settings"]
        refuse_other(path, begun, self.settings)
        for line in lines[1:]:
            entry = json.loads(line)
            records = [Record(**one) for one in entry["records"]]
            self.done[entry["batch"]] = Answered(records, entry["backends"])


def refuse_other(path: Path, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Compares what a file was begun with to what is asked for.

    Raises:
        ValueError: They differ; the message names what does.
    """
    names = [name for name in dict.fromkeys([*begun, *asked]) if begun.get(name) != asked.get(name)]
    if names:
        differs = "; ".join(f"{name}: {begun.get(name)} there, {asked.get(name)} here" for name in names)
        raise ValueError(
            f"{path} is of an evaluation with other settings ({differs}); name another folder, or start from nothing "
            "with --fresh"
        )


def _whole(path: Path) -> int:
    """Bytes up to the last line that was written whole."""
    return path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(entry, ensure_ascii=False) + "\n").encode()
