"""Several sources in one stream, by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np

from gazekit.data.mixing.shuffle import scramble, shuffled

BLOCK = 1 << 16


@dataclass(frozen=True)
class Place:
    """A row of a source.

    Attributes:
        source: Which source, by its number.
        row: Which of its rows, among those that its filters keep.
        epoch: How often the source has been gone through before.
    """

    source: int
    row: int
    epoch: int


@runtime_checkable
class Order(Protocol):
    """Which row comes when."""

    def at(self, place: int) -> Place:
        """The row that stands in a place, counted from 0."""
        ...


@dataclass(frozen=True)
class InOrder:
    """The rows of one source as they lie in their file, over and over.

    Attributes:
        size: How many there are.

    Raises:
        ValueError: There are none.
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}; the source has no rows")

    def at(self, place: int) -> Place:
        """The row that stands in a place, counted from 0."""
        epoch, row = divmod(place, self.size)
        return Place(0, row, epoch)


class Mixture:
    """An endless stream of rows; which one stands in a place follows from the seed and the place alone.

    So a place is all that resuming needs, worker processes make no difference, and nothing is stored. In each block of
    65,536 places every source has its share exactly (to 1 in 65,536, and at least one place), in random order. A source
    is gone through whole, in a new order each time, before any of its rows comes again.

    Args:
        sizes: Rows of each source.
        weights: Of each source, in any unit; 0 = never.
        seed: Each one gives another stream.

    Raises:
        ValueError: A source is empty, or a weight is negative or all are 0.

    Example:
        >>> mixture = Mixture([10, 1000], [1.0, 3.0], seed=0)
        >>> sum(mixture.at(place).source for place in range(65536)) / 65536
        0.75
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int) -> None:
        if not sizes or len(sizes) != len(weights):
            raise ValueError(
                f"weights must be given for each of the {len(sizes)} sources, got {len(weights)}"
            )
        if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise ValueError(f"weights must not be negative, and not all 0, got {list(weights)}")
        for number, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
            if weight and not size:
                raise ValueError(
                    f"sources[{number}] must have rows, got none; loosen its filters, or give it weight 0"
                )
        self.sizes = tuple(sizes)
        self.counts = _portions(weights)
        self.seed = seed
        self._block = lru_cache(maxsize=2)(self._draw)

    def at(self, place: int) -> Place:
        """The row that stands in a place, counted from 0."""
        block, within = divmod(place, BLOCK)
        sources, ranks = self._block(block)
        source = int(sources[within])
        epoch, rank = divmod(block * self.counts[source] + int(ranks[within]), self.sizes[source])
        row = shuffled(rank, self.sizes[source], key=scramble(self.seed, source, epoch))
        return Place(source, row, epoch)

    def _draw(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The source of each place of a block, and how many places before it in the block have the same."""
        sources = np.repeat(np.arange(len(self.counts), dtype=np.int32), self.counts)
        if len(self.counts) > 1:
            np.random.default_rng([self.seed, block]).shuffle(sources)
        ranks = np.empty(BLOCK, np.int32)
        order = np.argsort(sources, kind="stable")
        ranks[order] = np.concatenate([np.arange(count, dtype=np.int32) for count in self.counts])
        return sources, ranks

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_block"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._block = lru_cache(maxsize=2)(self._draw)


def _portions(weights: Sequence[float]) -> tuple[int, ...]:
    """The places of a block that each source gets: by weight, the largest remainders rounded up."""
    shares = np.asarray(weights, float) / sum(weights) * BLOCK
    counts = np.where(shares > 0, np.maximum(np.floor(shares), 1), 0).astype(int)
    rest = BLOCK - counts.sum()
    if rest > 0:
        counts[np.argsort(counts - shares, kind="stable")[:rest]] += 1
    while counts.sum() > BLOCK:  # more than 65,536 parts, or many sources that got their one place
        counts[np.argmax(counts)] -= 1
    return tuple(int(count) for count in counts)
