"""What is cheaper: to read what was chosen, or everything under a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# The time that a row of keys or values takes, over that of a row in a product of all of them, in rough figures for one
# CPU thread in bf16. What follows from them errs to the side of gathering: against everything under a mask it expects
# 0.67 and 0.73 of the time at Qwen3-4B's shape (10,240 visual entries of which each head looks at 1,536; 20,480 and
# 4,096), where `gazekit bench decode --backend gather masked --threads 1` measures 0.75 and 0.83, and 0.35 at
# Qwen2.5-7B's (10,240 and 1,536, shared by a group), where it measures 0.58.
_COPIED = 1.6  # laid beside others, then multiplied by the queries that share it
_DOTTED = 1.8  # multiplied by one query where it lies
_ADDED = 0.8  # added up by weight where it lies
_AGAIN = 0.3  # the same row for another head of the group: it is in the caches
_MASK = 0.15  # building and adding a mask, for each row

Keys = Literal["whole", "copied", "dotted"]


@dataclass(frozen=True)
class Reading:
    """How one decoding step reads.

    Attributes:
        keys: "whole": all by one product, of which the chosen ones' are taken. "copied": the chosen ones are laid side
            by side, and multiplied by the queries that share them. "dotted": each where it lies, by one query.
        bytes: What it costs, in bytes that a product of all entries reads in the same time.
        whole: What everything under a mask costs.
    """

    keys: Keys
    bytes: float
    whole: float

    @property
    def gathers(self) -> bool:
        """True = it is cheaper to read the chosen values alone."""
        return self.bytes < self.whole


def reading_of(
    *,
    entries: int,
    free: int,
    chosen: int,
    heads: int,
    kv_heads: int,
    choosing: int,
    key_bytes: int,
    value_bytes: int,
    tracked: bool,
) -> Reading:
    """The cheapest way for one sample.

    Args:
        entries: Entries of a KV head, free ones among them.
        free: Free entries.
        chosen: Entries in the regions that a head chose.
        heads: Query heads.
        kv_heads: KV heads.
        choosing: Heads that choose for themselves.
        key_bytes: Bytes of a key.
        value_bytes: Bytes of a value.
        tracked: Whether autograd follows, which it cannot where keys are dotted.
    """
    group, together = heads // kv_heads, choosing <= kv_heads
    all_keys = kv_heads * entries * key_bytes
    keys: Keys = "copied" if together else "dotted"
    some_keys = kv_heads * key_bytes * (free + chosen * (_COPIED if together else _DOTTED * group))
    if some_keys >= all_keys or (tracked and not together):
        keys, some_keys = "whole", all_keys
    shared = _ADDED + _AGAIN * (group - 1)
    values = kv_heads * value_bytes * (free * shared + chosen * (shared if together else _ADDED * group))
    whole = (1 + _MASK) * (all_keys + kv_heads * entries * value_bytes)
    return Reading(keys=keys, bytes=some_keys + values, whole=whole)
