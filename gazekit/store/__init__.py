"""What the KV cache is to us: the keys and values of one layer, region by region."""

from gazekit.store.choose import STORAGES, storage_of
from gazekit.store.lru import Table, Turn, union
from gazekit.store.offloaded import MemoryMappedStorage, OffloadedStorage, OffloadedStore
from gazekit.store.resident import ResidentStorage, ResidentStore
from gazekit.store.split import Traffic
from gazekit.store.tiers import FileTier, HostTier, Tier

__all__ = [
    "STORAGES", "FileTier", "HostTier", "MemoryMappedStorage", "OffloadedStorage", "OffloadedStore", "ResidentStorage",
    "ResidentStore", "Table", "Tier", "Traffic", "Turn", "storage_of", "union",
]  # fmt: skip
