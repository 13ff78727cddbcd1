"""The rows of a JSONL file or of a JSON array, any of them at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gazekit.data.records.fault import RowFault
from gazekit.data.records.index import RowIndex, open_index
from gazekit.data.records.scan import ARRAY

_LARGEST = 1 << 26


@runtime_checkable
class Rows(Protocol):
    """Rows by their number.

    Attributes:
        identity: The same text for the same rows; what a checkpoint must find unchanged.
    """

    identity: str

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, number: int) -> Mapping[str, Any]:
        """One row; `RowFault` if it cannot be read."""
        ...


class JsonRows:
    """The rows of a JSONL file, or of a file that holds one JSON array.

    Access takes the same time for every row; memory holds the row alone. A file of a million rows is gone through once,
    by whoever opens it first (`open_index`).

    Args:
        path: The file.
        progress: Told of bytes read and bytes in all while the file is gone through.

    Raises:
        ValueError: The file holds something else.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path | str, progress: Callable[[int, int], object] | None = None) -> None:
        self.path = Path(path)
        self.index: RowIndex = open_index(self.path, progress)
        self.identity = f"{self.path.name}, {self.index.size} bytes, {len(self.index)} rows"
        self._file: int | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Mapping[str, Any]:
        """One row, counted from 0.

        Raises:
            RowFault: It is no JSON object: cut in half, or of another type.
            IndexError: There is none of that number.
        """
        if not 0 <= number < len(self.index):
            raise IndexError(f"row {number} is outside a file of {len(self.index)} rows")
        start, end = self.index.span(number)
        where = f"row {number} of {self.path.name} (byte {start})"
        if not 0 <= end - start <= _LARGEST:
            raise RowFault("json", f"{where} is larger than {_LARGEST >> 20} MiB; cut it up")
        # read and not mapped: pages of a mapped file count as this process's memory
        text = os.pread(self._open(), end - start, start).strip()
        if self.index.layout == ARRAY:
            text = text.removesuffix(b",")
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested too deeply
            raise RowFault(
                "json", f"{where} is not JSON ({error}); the file may be cut or garbled there"
            ) from error
        if not isinstance(row, dict):
            raise RowFault(
                "type", f"{where} must be an object, got {type(row).__name__}; give one record a row"
            )
        return row

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "identity": self.identity}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Opens the file anew in another process.

        Raises:
            ValueError: It has changed.
        """
        self.__init__(state["path"])  # type: ignore[misc]
        if self.identity != state["identity"]:
            raise ValueError(f"{self.path} has changed since it was opened; start again")

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self._file

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            os.close(self._file)  # type: ignore[arg-type]
