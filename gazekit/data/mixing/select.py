"""Writes the rows of a file that its filters keep into a file of their own."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gazekit.data.mixing.filters import RowFilter
from gazekit.data.mixing.row import Row, has_video, video_seconds
from gazekit.data.records.fault import RowFault
from gazekit.data.records.limits import Limits
from gazekit.data.records.root import DataRoot
from gazekit.data.records.rows import Rows
from gazekit.data.records.schema import read_record

_CHUNK = 64
UNREADABLE = "unreadable"


@runtime_checkable
class VideoLength(Protocol):
    """Says how long a video file is."""

    def seconds(self, file: Any, video: Any, limits: Limits) -> float:
        """Its length; `RowFault` where the file is no video."""
        ...


@dataclass(frozen=True, kw_only=True)
class RowSelection:
    """Judges rows one by one.

    Attributes:
        rows: All of them.
        filters: All of them must keep a row.
        root: What the rows' paths are relative to; None = nothing is opened.
        length: Measures videos whose rows do not say how long they are, and writes it down as `video_duration` before
            the filters judge; None = rows stay as they are.
    """

    rows: Rows
    filters: Sequence[RowFilter] = ()
    root: DataRoot | None = None
    length: VideoLength | None = None

    def __call__(self, number: int) -> tuple[str, str]:
        """The row of a number as JSON and "", or "" and the name of what leaves it out."""
        try:
            row = Row(number, self.rows[number], self.root)
            if named := self._denied(row):
                return "", named
            measured = self._measured(row)
        except RowFault:
            return "", UNREADABLE
        if measured is not row and (named := self._denied(measured)):
            return "", named
        return json.dumps(measured.values, ensure_ascii=False), ""

    def _denied(self, row: Row) -> str:
        return next((type(one).__name__ for one in self.filters if not one.keep(row)), "")

    def _measured(self, row: Row) -> Row:
        """The row with its video's length. Only what no filter denies without it gets this far."""
        if self.length is None or self.root is None or not has_video(row) or video_seconds(row) is not None:
            return row
        videos = read_record(row.values).videos
        if any(self.root.find(video.path).is_dir() for video in videos):
            return row
        total = 0.0
        for video in videos:
            with self.root.open(video.path) as file:
                total += self.length.seconds(file, video, Limits())
        return Row(row.number, {**row.values, "video_duration": round(total, 3)}, row.root)


@dataclass(frozen=True)
class Selected:
    """What was kept, and what was not.

    Attributes:
        rows: Rows in all.
        kept: Rows that were written.
        left_out: Rows by the name of the filter that left them out, or "unreadable".
    """

    rows: int
    kept: int
    left_out: Counter[str] = field(default_factory=Counter)


def select_rows(
    selection: RowSelection,
    out: Path,
    *,
    workers: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Selected:
    """Writes the rows that are kept, in their order, one JSON object a line; whole or not at all.

    Args:
        selection: Judges rows.
        out: The new file.
        workers: Processes that judge; 0 = this one.
        progress: Told of rows judged and rows in all.

    Raises:
        ValueError: The file is there already.
    """
    if out.exists():
        raise ValueError(f"out must be a new file, {out} is there already; name another or remove it")
    total, kept = len(selection.rows), 0
    left_out: Counter[str] = Counter()
    partial = out.with_name(f".{out.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", errors="replace") as file:
            for place, (line, named) in enumerate(_judged(selection, workers)):
                if named:
                    left_out[named] += 1
                else:
                    kept += 1
                    file.write(line + "\n")
                if progress is not None:
                    progress(place + 1, total)
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return Selected(total, kept, left_out)


def _judged(selection: RowSelection, workers: int) -> Iterator[tuple[str, str]]:
    """What is said of every row, in order."""
    total = len(selection.rows)
    if workers == 0:
        yield from map(selection, range(total))
        return
    chunks = [range(first, min(first + _CHUNK, total)) for first in range(0, total, _CHUNK)]
    with ProcessPoolExecutor(workers, get_context("spawn"), _take, (selection,)) as pool:
        for judged in pool.map(_judge_chunk, chunks):
            yield from judged


_taken: list[RowSelection] = []


def _take(selection: RowSelection) -> None:
    """What a worker process begins with."""
    _taken[:] = [selection]


def _judge_chunk(numbers: range) -> list[tuple[str, str]]:
    (selection,) = _taken
    return [selection(number) for number in numbers]
