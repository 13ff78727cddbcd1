"""What the KV cache is to us: the keys and values of one layer, region by region."""

from gazekit.store.resident import ResidentStore

__all__ = ["ResidentStore"]
