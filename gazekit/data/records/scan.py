"""Where the rows of a JSONL file or of a JSON array begin, found block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from jaxtyping import Int, UInt8

Layout = str
LINES, ARRAY = "lines", "array"

_BLOCK = 1 << 22
_BOM = b"\xef\xbb\xbf"
_SPACE = 32  # JSON's white space, and nothing else that may stand outside a string, is at or below it
_NEWLINE, _QUOTE, _BACKSLASH = b'\n"\\'
_OTHERS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PAR1": "parquet",
}


def layout_of(file: BinaryIO, name: str) -> tuple[Layout, int]:
    """How a file is laid out, and where its content begins.

    Raises:
        ValueError: It is compressed or a table: something to unpack, or to read by `HubSource`.
    """
    head = file.read(4096)
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            raise ValueError(
                f"{name} must be JSONL or a JSON array, got {what}; unpack it, or read it by gazekit.data.HubSource"
            )
    start = len(_BOM) if head.startswith(_BOM) else 0
    begins = head[start:].lstrip()[:1]
    return (ARRAY if begins == b"[" else LINES), start


def line_starts(file: BinaryIO, start: int) -> Iterator[Int[np.ndarray, " row"]]:
    """Where the lines begin that are not blank; the last array ends with where the file does."""
    file.seek(start)
    base, begin, solid = start, start, False
    while block := file.read(_BLOCK):
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data == _NEWLINE)
        firsts = np.concatenate([[0], ends + 1])
        within = firsts[firsts < len(data)]
        filled = np.zeros(len(firsts), bool)
        filled[: len(within)] = np.maximum.reduceat(data, within) > _SPACE
        filled[0] |= solid  # the line that the block before had begun
        lines = base + firsts
        lines[0] = begin
        yield lines[:-1][filled[:-1]]
        begin, solid = int(lines[-1]), bool(filled[-1])
        base += len(data)
    yield np.array([begin, base] if solid else [base])


@dataclass
class _Nest:
    """Where in the nesting of a JSON text a block begins.

    Attributes:
        depth: Brackets that are open.
        quoted: It begins inside a string.
        escaped: Its first byte follows a backslash that escapes it.
    """

    depth: int = 0
    quoted: bool = False
    escaped: bool = False


def array_starts(file: BinaryIO, start: int, name: str) -> Iterator[Int[np.ndarray, " row"]]:
    """Where the items of an array begin, white space in front of them; the last array ends with where they do.

    An array that is not closed ends where the file does, so that its last row shows as cut.

    Raises:
        ValueError: Something follows the array.
    """
    file.seek(start)
    base, nest = start, _Nest()
    opened, filled = None, False  # where the first item may begin; whether there is one
    while block := file.read(_BLOCK):
        data = np.frombuffer(block, np.uint8)
        places, depths = _brackets(data, nest)
        closed = np.flatnonzero(depths == 0)
        end = int(places[closed[0]]) if len(closed) else len(data)
        marks = data[places]
        parted = (depths == 1) & ((marks == ord(",")) | (marks == ord("["))) & (places < end)
        starts = base + places[parted] + 1
        if opened is None and len(starts):
            opened, starts = int(starts[0]), starts[1:]
        if opened is not None and not filled and (data[max(0, opened - base) : end] > _SPACE).any():
            filled, starts = True, np.append(opened, starts)
        yield starts
        if len(closed):
            file.seek(base + end + 1)
            _check_rest(file, name)
            yield np.array([base + end])
            return
        base += len(data)
    yield np.array([base])


def _brackets(
    data: UInt8[np.ndarray, " byte"], nest: _Nest
) -> tuple[Int[np.ndarray, " mark"], Int[np.ndarray, " mark"]]:
    """Brackets and commas outside strings, and how many brackets are open behind each; moves `nest` on."""
    quotes = _quotes(data, nest)
    marks = np.flatnonzero(_IS_MARK[data])
    marks = marks[(np.searchsorted(quotes, marks) + nest.quoted) % 2 == 0]
    depths = nest.depth + np.cumsum(_STEP[data[marks]], dtype=np.int64)
    nest.quoted = bool((len(quotes) + nest.quoted) % 2)
    nest.depth = int(depths[-1]) if len(depths) else nest.depth
    return marks, depths


def _quotes(data: UInt8[np.ndarray, " byte"], nest: _Nest) -> Int[np.ndarray, " quote"]:
    """The quotes that begin or end a string: those that no backslash escapes."""
    quotes = np.flatnonzero(data == _QUOTE)
    slashes = np.flatnonzero(data == _BACKSLASH)
    escaped = np.zeros(len(data) + 1, bool)
    escaped[0] = nest.escaped
    if nest.escaped:
        slashes = slashes[slashes > 0]
    if len(slashes):
        # In a run of backslashes every second one is escaped itself.
        new = np.concatenate([[True], np.diff(slashes) != 1])
        number = np.arange(len(slashes))
        within = number - np.maximum.accumulate(np.where(new, number, 0))
        escaped[slashes[within % 2 == 0] + 1] = True
    nest.escaped = bool(escaped[-1])
    return quotes[~escaped[quotes]]


def _check_rest(file: BinaryIO, name: str) -> None:
    while block := file.read(_BLOCK):
        if block.strip():
            raise ValueError(
                f"{name} must hold one JSON array and nothing behind it; write one row a line to join files"
            )


_IS_MARK = np.zeros(256, bool)
_IS_MARK[list(b"[]{},")] = True
_STEP = np.zeros(256, np.int8)
_STEP[list(b"[{")] = 1
_STEP[list(b"]}")] = -1
