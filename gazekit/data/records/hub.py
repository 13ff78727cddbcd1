"""The rows of a data set of Hugging Face `datasets`, through their own library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gazekit.data.records.fault import RowFault

_WEBDATASET = dict.fromkeys(("jpg", "jpeg", "png", "webp"), "image")
_INNER = "json"


class HubRows:
    """Rows of a `datasets.Dataset`: what stands in a column "json" is the row's own, images are not decoded.

    Args:
        dataset: A `datasets.Dataset`.
        columns: New names of its columns, by their own.

    Raises:
        ValueError: A column that is renamed does not exist.
    """

    def __init__(self, dataset: Any, columns: Mapping[str, str] | None = None) -> None:
        from datasets import Image

        if lacking := sorted(set(columns or {}) - set(dataset.column_names)):
            raise ValueError(f"columns must be the data set's, got {lacking}; it has {dataset.column_names}")
        for name, feature in dataset.features.items():
            if isinstance(feature, Image):
                dataset = dataset.cast_column(name, Image(decode=False))
        self._dataset = dataset
        self._columns = {**_WEBDATASET, **(columns or {})}
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
        return len(self._dataset)

    def __getitem__(self, number: int) -> Mapping[str, Any]:
        """One row.

        Raises:
            RowFault: Its "json" is no object.
        """
        found = {self._columns.get(name, name): value for name, value in self._dataset[number].items()}
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
