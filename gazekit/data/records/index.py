"""Where each row of a data file begins: built once, kept beside the file, opened in no time."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt64

from gazekit.data.records.cache import derived, keep
from gazekit.data.records.scan import ARRAY, LINES, Layout, array_starts, layout_of, line_starts

_MAGIC = b"GAZEROW1"
_HEADER = struct.Struct("<8sQQQQ")  # magic, layout, size, time of change, rows
_LAYOUTS = (LINES, ARRAY)
_ENDING = "index"


@dataclass(frozen=True, eq=False)
class RowIndex:
    """Where rows lie.

    Attributes:
        layout: "lines" (JSONL) or "array" (one JSON array).
        starts: Where each row begins, in bytes, and at the end where the last one ends; mapped from disk.
        size: Of the data file, in bytes.
    """

    layout: Layout
    starts: UInt64[np.ndarray, " rows_and_end"]
    size: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def span(self, number: int) -> tuple[int, int]:
        """Where a row begins and ends, in bytes."""
        return int(self.starts[number]), int(self.starts[number + 1])


def open_index(path: Path, progress: Callable[[int, int], object] | None = None) -> RowIndex:
    """The index of a data file; built where there is none, or where the file has changed since.

    A file has changed if its size or its time of change has. The index is as large as 8 bytes a row, is mapped and not
    read, and takes the place of an older one in one step, so that processes that build it at once do no harm.

    Args:
        path: JSONL, or a JSON array.
        progress: Told of bytes read and bytes in all while the index is built.

    Raises:
        ValueError: The file is something else, or grows while it is read.
        OSError: It cannot be read, or no place for its index can be written.
    """
    stat = os.stat(path)
    for place in derived(path, _ENDING):
        if (found := _load(place, stat)) is not None:
            return found
    place = keep(path, _ENDING, lambda out: _build(path, out, progress))
    found = _load(place, os.stat(path))
    if found is None:
        raise ValueError(f"{path} changed while its rows were counted; wait until it is written")
    return found


def _load(place: Path, stat: os.stat_result) -> RowIndex | None:
    """The index that lies in a place; None = there is none, or none of this file as it is now."""
    try:
        with place.open("rb") as file:
            head = file.read(_HEADER.size)
            length = os.fstat(file.fileno()).st_size
    except OSError:
        return None
    if len(head) < _HEADER.size:
        return None
    magic, layout, size, changed, rows = _HEADER.unpack(head)
    same = (magic, size, changed) == (_MAGIC, stat.st_size, stat.st_mtime_ns)
    if not same or layout >= len(_LAYOUTS) or length != _HEADER.size + 8 * (rows + 1):
        return None
    starts = np.memmap(place, np.dtype("<u8"), "r", _HEADER.size, (rows + 1,))
    return RowIndex(_LAYOUTS[layout], starts, size)


def _build(path: Path, out: BinaryIO, progress: Callable[[int, int], object] | None) -> None:
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        layout, start = layout_of(file, str(path))
        found = line_starts(file, start) if layout == LINES else array_starts(file, start, str(path))
        out.write(b"\0" * _HEADER.size)
        marks = 0
        for starts in found:
            out.write(starts.astype("<u8").tobytes())
            marks += len(starts)
            if file.tell() > before.st_size:  # it grows, perhaps for ever
                break
            if progress is not None:
                progress(file.tell(), before.st_size)
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ValueError(f"{path} changed while its rows were counted; wait until it is written")
    out.seek(0)
    out.write(_HEADER.pack(_MAGIC, _LAYOUTS.index(layout), before.st_size, before.st_mtime_ns, marks - 1))
