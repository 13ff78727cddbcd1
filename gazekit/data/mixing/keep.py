"""Which rows of a file its filters keep: found once, kept beside the file."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt64

from gazekit.data.mixing.filters import RowFilter
from gazekit.data.mixing.row import Row
from gazekit.data.records.cache import derived, keep
from gazekit.data.records.fault import RowFault
from gazekit.data.records.root import DataRoot
from gazekit.data.records.rows import Rows

_EACH = 4096


def kept_rows(
    rows: Rows,
    filters: Sequence[RowFilter],
    *,
    root: DataRoot | None,
    beside: Path | None,
    progress: Callable[[int, int], object] | None = None,
) -> UInt64[np.ndarray, " kept"] | None:
    """The numbers of the rows that every filter keeps, ascending; None = there are no filters.

    A row that cannot be read is kept, so that it is counted as broken and not forgotten.

    Args:
        rows: What is filtered.
        filters: All of them must keep a row.
        root: What the rows' paths are relative to.
        beside: File that the answer is kept beside, and mapped from; None = it is not kept.
        progress: Told of rows judged and rows in all.
    """
    if not filters:
        return None
    said = "\n".join([rows.identity, str(root and root.folder), *map(repr, filters)])
    ending = f"kept-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    if beside is not None:
        for place in derived(beside, ending):
            if place.is_file() and place.stat().st_mtime_ns >= beside.stat().st_mtime_ns:
                return _load(place)
    found = _judge(rows, filters, root, progress)
    if beside is None:
        return np.frombuffer(found, "<u8") if found else np.zeros(0, "<u8")

    def write(file: BinaryIO) -> None:
        file.write(np.array(found, "<u8").tobytes())

    return _load(keep(beside, ending, write))


def _load(place: Path) -> UInt64[np.ndarray, " kept"]:
    return np.memmap(place, "<u8", "r") if place.stat().st_size else np.zeros(0, "<u8")


def _judge(
    rows: Rows,
    filters: Sequence[RowFilter],
    root: DataRoot | None,
    progress: Callable[[int, int], object] | None,
) -> array[int]:
    found: array[int] = array("Q")
    for number in range(len(rows)):
        if progress is not None and number % _EACH == 0:
            progress(number, len(rows))
        try:
            values = rows[number]
        except RowFault:
            found.append(number)
            continue
        row = Row(number, values, root)
        if all(one.keep(row) for one in filters):
            found.append(number)
    return found
