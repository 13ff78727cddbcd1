"""The rows of a data set of Hugging Face `datasets`, through their own library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gazekit.data.records.fault import RowFault

_WEBDATASET = dict.fromkeys(("jpg", "jpeg", "png", "webp"), "image")
_INNER = "json"


class HubRows:
    """Rows of a `datasets.Dataset`: what stands in a column "json" is the row's own, images are not decoded.

    Nor is any other file, however deep in a column it stands: the library would open paths wherever they lead.

    Args:
        dataset: A `datasets.Dataset`.
        columns: New names of its columns, by their own.

    Raises:
        ValueError: A column that is renamed does not exist.
    """

    def __init__(self, dataset: Any, columns: Mapping[str, str] | None = None) -> None:
        if lacking := sorted(set(columns or {}) - set(dataset.column_names)):
            raise ValueError(f"columns must be the data set's, got {lacking}; it has {dataset.column_names}")
        nested = []
        for name, feature in dataset.features.items():
            if _is_file(feature):
                dataset = dataset.cast_column(name, replace(feature, decode=False))
            elif _holds_file(feature):
                nested.append(name)
        # Of lists a cast would copy the whole data set; as Arrow they come as they lie on disk.
        self._plain = dataset.remove_columns(nested)
        self._nested = dataset.select_columns(nested).with_format("arrow") if nested else None
        self._columns = {**_WEBDATASET, **(columns or {})}
        self._length = len(dataset)
        self.identity = f"{len(dataset)} rows, columns {', '.join(dataset.column_names)}"

    @classmethod
    def load(
        cls,
        dataset: str,
        config: str | None,
        files: Any,
        split: str,
        columns: Mapping[str, str] | None,
    ) -> HubRows:
        """Loads a data set by `datasets.load_dataset`.

        Raises:
            ModuleNotFoundError: `datasets` is not installed.
        """
        from datasets import load_dataset

        return cls(load_dataset(dataset, config, data_files=files, split=split), columns)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> Mapping[str, Any]:
        """One row.

        Raises:
            RowFault: Its "json" is no object.
        """
        found = {self._columns.get(name, name): value for name, value in self._read(number).items()}
        inner = found.pop(_INNER, {})
        if isinstance(inner, (str, bytes)):
            try:
                inner = json.loads(inner)
            except (ValueError, RecursionError) as error:
                raise RowFault(
                    "json", f"row {number} holds no JSON in {_INNER} ({error}); mend it"
                ) from error
        if not isinstance(inner, dict):
            raise RowFault("type", f"{_INNER} of row {number} must be an object, got {type(inner).__name__}")
        return {**inner, **found}

    def _read(self, number: int) -> Mapping[str, Any]:
        plain = self._plain[number] if self._plain.column_names else {}
        return plain if self._nested is None else {**plain, **self._nested[number].to_pylist()[0]}


def _is_file(feature: Any) -> bool:
    """Whether the library makes a feature's values by opening files."""
    from datasets import Json

    return hasattr(feature, "decode") and not isinstance(feature, Json)


def _holds_file(feature: Any) -> bool:
    """Whether such a feature stands anywhere within one."""
    if isinstance(feature, Mapping):
        return any(map(_holds_file, feature.values()))
    if isinstance(feature, (list, tuple)):
        return any(map(_holds_file, feature))
    inner = getattr(feature, "feature", None)
    return _is_file(feature) or (inner is not None and _holds_file(inner))
