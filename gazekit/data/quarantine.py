"""The file that broken rows are written to."""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class BrokenRow:
    """A row that was passed over.

    Attributes:
        source: The data set that it is from.
        file: What the rows are read from.
        row: Its number there, counted from 0.
        name: Its id; "" = it has none.
        kind: What sort of fault (`gazekit.data.records.FaultKind`).
        message: What is wrong.
        digest: Of what the row says, by which `NotQuarantined` knows it again; "" = it could not be read.
    """

    source: str
    file: str
    row: int
    name: str
    kind: str
    message: str
    digest: str


class Quarantine:
    """A file of broken rows, one JSON object a line, each row once, however often it is met and by how many runs.

    Args:
        path: The file; made at the first broken row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: set[tuple[str, int]] | None = None

    def add(self, rows: Sequence[BrokenRow]) -> None:
        """Appends those that the file does not hold."""
        if not rows:
            return
        if self._held is None:
            self._held = {(row["file"], row["row"]) for row in read_quarantine(self.path, {"file", "row"})}
        new = {(row.file, row.row): row for row in rows if (row.file, row.row) not in self._held}
        self._held.update(new)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+", encoding="utf-8") as file:
            if _is_cut(self.path):
                file.write("\n")
            file.write("".join(json.dumps(asdict(row)) + "\n" for row in new.values()))


def read_quarantine(path: Path, keys: Set[str] = frozenset()) -> list[dict[str, Any]]:
    """The rows of a quarantine file, less a line that a kill has cut. Empty = there is no file.

    Args:
        path: The file.
        keys: What every row must have.

    Raises:
        ValueError: The file holds something else.
    """
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if not isinstance(row, dict) or keys - row.keys():
            raise ValueError(
                f"{path} must hold rows that were found broken, got {line!r:.60} in line {number + 1}; "
                "name another file"
            )
        rows.append(row)
    return rows


def _is_cut(path: Path) -> bool:
    return not path.read_bytes().endswith(b"\n") if path.stat().st_size else False
