"""Where rows come from: files of JSON, and data sets of Hugging Face."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gazekit.data.mixing.filters import RowFilter
from gazekit.data.mixing.keep import kept_rows
from gazekit.data.records.root import DataRoot
from gazekit.data.records.rows import JsonRows, Rows

Progress = Callable[[int, int], object]


@dataclass(frozen=True, eq=False)
class OpenSource:
    """A source whose rows can be had.

    Attributes:
        name: What reports call it, where rows do not say themselves where they are from.
        rows: All of them.
        kept: Numbers of those that take part; None = all.
        root: What their paths are relative to; None = nothing of theirs is opened.
        weight: In a mixture.
    """

    name: str
    rows: Rows
    kept: np.ndarray | None
    root: DataRoot | None
    weight: float

    def __len__(self) -> int:
        return len(self.rows) if self.kept is None else len(self.kept)

    def number(self, place: int) -> int:
        """The number in its file of the row in a place among those that take part."""
        return place if self.kept is None else int(self.kept[place])

    @property
    def identity(self) -> str:
        """What a checkpoint must find unchanged."""
        return f"{self.name}: {self.rows.identity}, {len(self)} kept, weight {self.weight:g}"


@runtime_checkable
class Source(Protocol):
    """Something that rows can be had from."""

    def open(self, progress: Progress | None = None) -> OpenSource:
        """Opens it."""
        ...


@dataclass(frozen=True, kw_only=True)
class JsonSource:
    """A JSONL file, or one that holds a JSON array, as Cambrian and LLaVA publish them.

    Attributes:
        path: The file.
        root: Folder that its paths are relative to, and that nothing is opened outside of; None = the file's own.
        name: What reports call it; None = the file's name.
        weight: Its share of a mixture, in any unit; None = as many as rows take part.
        filters: Rows take part that all of them keep.

    Raises:
        ValueError: The weight is negative.
    """

    path: str
    root: str | None = None
    name: str | None = None
    weight: float | None = None
    filters: Sequence[RowFilter] = ()

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def open(self, progress: Progress | None = None) -> OpenSource:
        """Opens the file, and finds its rows if nobody has before.

        Args:
            progress: Told how far that has come.

        Raises:
            ValueError: The file or the root does not exist, or the file is not JSON.
        """
        path, root = Path(self.path), Path(self.root or Path(self.path).parent)
        for name, exists in (("path", path.is_file()), ("root", root.is_dir())):
            if not exists:
                raise ValueError(f"{name} {path if name == 'path' else root} does not exist; check it")
        folder = DataRoot(root)
        rows = JsonRows(path, progress)
        kept = kept_rows(rows, self.filters, root=folder, beside=path, progress=progress)
        return _opened(self.name or path.stem, rows, kept, folder, self.weight)


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A data set of Hugging Face `datasets` (extra `datasets`): parquet, WebDataset shards, or one of the hub.

    The library keeps the rows on disk, mapped; none is read before it is asked for. Images stay files until then.

    Attributes:
        dataset: "parquet", "webdataset" or "json" with `files`, or a name on the hub.
        files: Files or patterns of such a format; None = those that the name on the hub stands for.
        split: Which part.
        config: Name of a configuration of the data set.
        root: Folder that paths in rows are relative to; None = only images that lie in the rows are shown.
        columns: New names of columns, by their own: {"png": "image"}. Of WebDataset, "jpg", "jpeg", "png" and "webp"
            are images, and what "json" holds is a row's own, unless given.
        name: What reports call it; None = as it is called here.
        weight: Its share of a mixture; None = as many as rows take part.
        filters: Rows take part that all of them keep.

    Raises:
        ValueError: The weight is negative.
    """

    dataset: str
    files: str | Sequence[str] | None = None
    split: str = "train"
    config: str | None = None
    root: str | None = None
    columns: Mapping[str, str] | None = None
    name: str | None = None
    weight: float | None = None
    filters: Sequence[RowFilter] = ()

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def open(self, progress: Progress | None = None) -> OpenSource:
        """Opens the data set; the library may download or convert it first.

        Raises:
            ValueError: The root does not exist.
            ModuleNotFoundError: `datasets` is not installed.
        """
        from gazekit.data.records.hub import HubRows

        root = None if self.root is None else DataRoot(Path(self.root))
        if root is not None and not root.folder.is_dir():
            raise ValueError(f"root {root.folder} does not exist; check it")
        files: Any = self.files if isinstance(self.files, str | None) else list(self.files)
        rows = HubRows.load(self.dataset, self.config, files, self.split, self.columns)
        kept = kept_rows(rows, self.filters, root=root, beside=None, progress=progress)
        return _opened(self.name or self.dataset, rows, kept, root, self.weight)


def _opened(
    name: str, rows: Rows, kept: np.ndarray | None, root: DataRoot | None, weight: float | None
) -> OpenSource:
    taking_part = len(rows) if kept is None else len(kept)
    return OpenSource(name, rows, kept, root, float(taking_part) if weight is None else weight)


def _check_weight(weight: float | None) -> None:
    if weight is not None and weight < 0:
        raise ValueError(f"weight must not be negative, got {weight}; 0 leaves the source out")
