"""What is wrong with a data set, row by row, added up by source."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import numpy as np

from gazekit.data.conversation import Conversation
from gazekit.data.mixing.filters import digest_of
from gazekit.data.mixing.sources import OpenSource
from gazekit.data.quarantine import BrokenRow, Quarantine
from gazekit.data.records.fault import COLUMNS, FaultKind, RowFault, column_of
from gazekit.data.records.open import RecordOpener
from gazekit.data.records.schema import PARTS, named_paths, read_record, source_of
from gazekit.data.samples import file_of

_CHUNK = 64


@dataclass(frozen=True, kw_only=True)
class RowCheck:
    """Checks one row: all that a training does to it, short of training.

    Attributes:
        source: Where rows come from.
        opener: Opens images and videos.
        header_only: Decodes nothing, only reads the sizes of images: much faster, and a file that is cut passes.
        length: Tokens of a conversation; None = length is not checked.
    """

    source: OpenSource
    opener: RecordOpener
    header_only: bool = False
    length: Callable[[Conversation], int] | None = None

    def __call__(self, number: int) -> Verdict:
        """What is wrong with the row of a number, if anything is."""
        row: Mapping[str, Any] = {}
        try:
            row = self.source.rows[number]
            talk = self.opener(read_record(row), self.source.root, header_only=self.header_only)
            self._measure(talk)
        except RowFault as fault:
            return self._verdict(number, row, fault)
        return self._verdict(number, row, None)

    def _measure(self, talk: Conversation) -> None:
        limit = self.opener.limits.tokens
        if self.length is None or limit is None:
            return
        try:
            tokens = self.length(talk)
        except ValueError as error:
            raise RowFault("type", str(error)) from error
        if tokens > limit:
            raise RowFault(
                "long", f"the row has {tokens:,} tokens, images included, more than {limit:,}; it is cut"
            )

    def _verdict(self, number: int, row: Mapping[str, Any], fault: RowFault | None) -> Verdict:
        return Verdict(
            row=number,
            source=source_of(row, self.source.name),
            name=str(row.get("id", "")),
            fault=fault,
            digest=digest_of(row) if row else "",
            content=_content(row),
        )


@dataclass(frozen=True)
class Verdict:
    """What was found out about a row.

    Attributes:
        row: Its number.
        source: The data set that it is from.
        name: Its id.
        fault: What is wrong; None = nothing.
        digest: Of all that it says.
        content: Of what it shows and what is said about it: the same for rows that teach the same.
    """

    row: int
    source: str
    name: str
    fault: RowFault | None
    digest: str
    content: int


@dataclass
class Report:
    """What a check has found.

    Attributes:
        rows: Rows by source.
        faults: Faults by source and kind.
        examples: The first rows of each kind and source, with what is wrong.
    """

    rows: Counter[str] = field(default_factory=Counter)
    faults: dict[str, Counter[FaultKind]] = field(default_factory=dict)
    examples: list[BrokenRow] = field(default_factory=list)

    @property
    def num_faulty(self) -> int:
        """Rows with a fault."""
        return sum(kinds.total() for kinds in self.faults.values())

    def columns(self, source: str) -> dict[str, int]:
        """Rows of a source by what is wrong with them; "rows" = all, "good" = nothing."""
        kinds = self.faults.get(source, Counter())
        counts = dict.fromkeys(COLUMNS, 0)
        for kind, count in kinds.items():
            counts[column_of(kind)] += count
        return {"rows": self.rows[source], "good": self.rows[source] - kinds.total(), **counts}

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "rows": self.rows.total(),
            "faulty": self.num_faulty,
            "sources": {
                source: {**self.columns(source), "kinds": dict(self.faults.get(source, {}))}
                for source in sorted(self.rows)
            },
            "examples": [
                {
                    "row": one.row,
                    "id": one.name,
                    "source": one.source,
                    "kind": one.kind,
                    "message": one.message,
                }
                for one in self.examples
            ],
        }


def check_rows(
    check: RowCheck,
    *,
    workers: int = 0,
    examples: int = 3,
    quarantine: Quarantine | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Checks every row of a source.

    Rows that are there twice are found at the end: same files, the same part of a video, same words, whatever the id or
    source. The first of them is good. What is kept in memory is 12 bytes a row, and the examples.

    Args:
        check: Checks one row.
        workers: Processes that check; 0 = this one.
        examples: Rows of each kind and source that the report shows.
        quarantine: Where all rows with faults are written down; None = nowhere.
        progress: Told of rows checked and rows in all.
    """
    source, report = check.source, Report()
    contents = np.zeros(len(source), np.uint64)
    owners = np.zeros(len(source), np.int32)
    names: dict[str, int] = {}

    def note(verdict: Verdict, fault: RowFault) -> None:
        kinds = report.faults.setdefault(verdict.source, Counter())
        kinds[fault.kind] += 1
        row = BrokenRow(
            source=verdict.source,
            file=file_of(source),
            row=verdict.row,
            name=verdict.name,
            kind=fault.kind,
            message=str(fault),
            digest=verdict.digest,
        )
        if kinds[fault.kind] <= examples:
            report.examples.append(row)
        if quarantine is not None:
            quarantine.add([row])

    for place, verdict in enumerate(_verdicts(check, workers)):
        report.rows[verdict.source] += 1
        owners[place] = names.setdefault(verdict.source, len(names))
        if verdict.fault is None:
            contents[place] = verdict.content
        else:
            note(verdict, verdict.fault)
        if progress is not None:
            progress(place + 1, len(source))
    for place, first in _repeats(contents):
        number = source.number(place)
        same = f"the row says what row {source.number(first)} says, about the same files; leave one out"
        row = source.rows[number]
        verdict = Verdict(number, list(names)[owners[place]], str(row.get("id", "")), None, digest_of(row), 0)
        note(verdict, RowFault("duplicate", same))
    return report


def _repeats(contents: np.ndarray) -> Iterator[tuple[int, int]]:
    """Places whose content stood before, each with the place where it first did."""
    order = np.argsort(contents, kind="stable")
    new = np.concatenate([[True], np.diff(contents[order]) != 0])[: len(order)]
    firsts = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
    again = np.flatnonzero(~new & (contents[order] != 0))
    yield from sorted(zip(order[again].tolist(), firsts[again].tolist(), strict=True))


def _verdicts(check: RowCheck, workers: int) -> Iterator[Verdict]:
    """Every row's verdict, in order."""
    places = len(check.source)
    if workers == 0:
        yield from (check(check.source.number(place)) for place in range(places))
        return
    chunks = [range(first, min(first + _CHUNK, places)) for first in range(0, places, _CHUNK)]
    with ProcessPoolExecutor(workers, get_context("spawn"), _take, (check,)) as pool:
        for verdicts in pool.map(_check_chunk, chunks):
            yield from verdicts


_taken: list[RowCheck] = []


def _take(check: RowCheck) -> None:
    """What a worker process begins with."""
    _taken[:] = [check]


def _check_chunk(places: range) -> list[Verdict]:
    (check,) = _taken
    return [check(check.source.number(place)) for place in places]


def _content(row: Mapping[str, Any]) -> int:
    """A number that stands for what a row teaches; never 0."""
    shown = [named_paths(row), [row.get(key) for key in PARTS]]
    said = json.dumps([*shown, row.get("conversations", row.get("messages"))], default=repr)
    return int.from_bytes(hashlib.blake2b(said.encode(errors="replace"), digest_size=8).digest()) or 1
