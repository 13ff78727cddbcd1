"""Keeps a share of a source's videos, by how long they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gazekit.data.mixing.row import Row, has_video, video_seconds
from gazekit.data.records.schema import named_paths


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """Videos up to a length.

    Attributes:
        below: Seconds that they are shorter than; None = all that no stratum before takes.
        share: Of them that is kept, from 0 to 1.

    Raises:
        ValueError: The share is out of its range.
    """

    share: float
    below: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must be from 0 to 1, got {self.share}; 1 keeps all")


@dataclass(frozen=True, kw_only=True)
class DurationStrata:
    """Keeps of each length of video a share.

    Whether a row is kept follows from the seed, its id and its paths: adding rows or sorting a file anew changes
    nothing for the others. Each row is drawn for itself, so of n rows about n * share are kept, give or take the square
    root of n * share * (1 - share).

    Attributes:
        strata: From the shortest videos to the longest.
        seed: Of the lots.

    Raises:
        ValueError: The strata do not ascend.
    """

    strata: Sequence[Stratum]
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = [float("inf") if one.below is None else one.below for one in self.strata]
        if not bounds or any(high <= low for low, high in pairwise(bounds)):
            raise ValueError(
                f"strata must ascend, each `below` above the one before, got {bounds}; sort them"
            )

    def keep(self, row: Row) -> bool:
        """Whether the row is kept; rows without video, or of unknown length, are."""
        duration = video_seconds(row) if has_video(row) else None
        if duration is None:
            return True
        share = next((one.share for one in self.strata if one.below is None or duration < one.below), 1.0)
        return _lot(self.seed, row) < share


def _lot(seed: int, row: Row) -> float:
    """A number from 0 to 1 that belongs to a row."""
    text = "\0".join([str(seed), str(row.values.get("id", "")), *named_paths(row.values)])
    lot = hashlib.blake2b(text.encode(errors="replace"), digest_size=7).digest()
    return int.from_bytes(lot) / (1 << 56)
