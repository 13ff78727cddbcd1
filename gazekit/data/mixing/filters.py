"""Which rows of a source take part."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gazekit.data.mixing.row import Row, has_video, video_seconds
from gazekit.data.quarantine import read_quarantine
from gazekit.data.records.fault import RowFault
from gazekit.data.records.schema import named_paths, source_of


@runtime_checkable
class RowFilter(Protocol):
    """Says which rows take part. What it says must follow from its own arguments and the row: it is kept on disk."""

    def keep(self, row: Row) -> bool:
        """Whether a row takes part."""
        ...


@dataclass(frozen=True, kw_only=True)
class DenySources:
    """Leaves out rows of some data sets.

    Attributes:
        names: Of `data_source` or `source`, with * and ? as in file names; letters count.
    """

    names: Sequence[str]

    def keep(self, row: Row) -> bool:
        """Whether no name fits the row's source."""
        source = source_of(row.values)
        return not any(fnmatchcase(source, name) for name in self.names)


@dataclass(frozen=True, kw_only=True)
class DenyPaths:
    """Leaves out rows that show certain files: sound without pictures, say.

    Attributes:
        names: Of paths as rows write them, with * and ?; * goes over slashes too.
    """

    names: Sequence[str]

    def keep(self, row: Row) -> bool:
        """Whether no name fits any of the row's paths."""
        return not any(fnmatchcase(path, name) for path in named_paths(row.values) for name in self.names)


@dataclass(frozen=True, kw_only=True)
class OnlyKeys:
    """Leaves out rows with keys beyond these, whose meaning a loader would ignore.

    Attributes:
        keys: What a row may have.
    """

    keys: Sequence[str]

    def keep(self, row: Row) -> bool:
        """Whether the row has no other key."""
        return row.values.keys() <= set(self.keys)


@dataclass(frozen=True, kw_only=True)
class MinimumDuration:
    """Leaves out short videos.

    Attributes:
        seconds: Of the shortest that is kept.
        unknown: Whether rows whose video has no known length are kept. Rows without video always are.

    Raises:
        ValueError: `seconds` is negative.
    """

    seconds: float
    unknown: bool = True

    def __post_init__(self) -> None:
        if self.seconds < 0:
            raise ValueError(f"seconds must not be negative, got {self.seconds}; 0 keeps everything")

    def keep(self, row: Row) -> bool:
        """Whether the row's video is long enough, by what the row says."""
        if not has_video(row):
            return True
        duration = video_seconds(row)
        return self.unknown if duration is None else duration >= self.seconds


@dataclass(frozen=True, kw_only=True)
class OnDisk:
    """Leaves out rows whose files are missing or lie outside the root.

    Attributes:
        as_of: Any text, a date say. What is found is kept on disk; change the text to look again.
    """

    as_of: str = ""

    def keep(self, row: Row) -> bool:
        """Whether all that the row names is there."""
        paths = named_paths(row.values)
        try:
            for path in paths:
                if row.root is None:
                    return False
                row.root.find(path)
        except RowFault:
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class NotQuarantined:
    """Leaves out rows that an earlier run found broken.

    Attributes:
        file: The `quarantine.jsonl` that it has left. Rows of it that could not be read at all are still met.
        as_of: Any text. Which rows take part is kept on disk; change the text where the file has grown.

    Raises:
        ValueError: The file does not exist.
    """

    file: str
    as_of: str = ""

    def __post_init__(self) -> None:
        if not Path(self.file).is_file():
            raise ValueError(
                f"file must be a quarantine file, {self.file} does not exist; leave the filter out"
            )

    def keep(self, row: Row) -> bool:
        """Whether the file does not hold the row."""
        return digest_of(row.values) not in _held(self.file, Path(self.file).stat().st_mtime_ns)


def digest_of(row: Mapping[str, Any]) -> str:
    """A row's own name, whatever file it lies in and wherever: a digest of what it says."""
    text = json.dumps(row, sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()


_FILES: dict[tuple[str, int], frozenset[str]] = {}


def _held(file: str, changed: int) -> frozenset[str]:
    """The digests in a quarantine file, read once."""
    if (file, changed) not in _FILES:
        _FILES[file, changed] = frozenset(row["digest"] for row in read_quarantine(Path(file), {"digest"}))
    return _FILES[file, changed]
