"""Which storage a name stands for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from gazekit.contracts import Storage
from gazekit.store.offloaded import MemoryMappedStorage, OffloadedStorage
from gazekit.store.resident import ResidentStorage

STORAGES: Mapping[str, Storage] = {
    "resident": ResidentStorage(),
    "offloaded": OffloadedStorage(),
    "memory_mapped": MemoryMappedStorage(),
}
"""By name, with the options that a name alone stands for."""


def storage_of(store: str | Storage) -> Storage:
    """The storage of that name; one that is given stays as it is.

    Raises:
        ValueError: The name is unknown.
    """
    if not isinstance(store, str):
        return store
    if store not in STORAGES:
        near = difflib.get_close_matches(store, STORAGES, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"store must be one of {', '.join(STORAGES)}, or a storage, got {store!r}; did you mean {near!r}?"
        )
    return STORAGES[store]
