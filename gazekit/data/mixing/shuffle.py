"""Random orders that are never written down: any place of them at once, in no memory."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_WORD = (1 << 64) - 1
_ROUNDS = 6
_SMALL = 1 << 12


def scramble(*numbers: int) -> int:
    """A number of 64 bits that follows from others and looks random (splitmix64, chained)."""
    state = 0
    for number in numbers:
        state = (state ^ (number & _WORD)) + 0x9E3779B97F4A7C15 & _WORD
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _WORD
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _WORD
        state ^= state >> 31
    return state


def shuffled(place: int, size: int, key: int) -> int:
    """What stands in a place of a random order of 0 ... size - 1.

    For large sizes it is a Feistel network over the next power of 4, walked until it lands inside: a bijection, in
    constant time and memory. Small ones are drawn.

    Args:
        place: From 0 to size - 1.
        size: How many are shuffled.
        key: Each one gives an order of its own.

    Example:
        >>> sorted(shuffled(place, 5, key=7) for place in range(5))
        [0, 1, 2, 3, 4]
    """
    assert 0 <= place < size
    if size <= _SMALL:
        return int(_drawn(size, key)[place])
    half = ((size - 1).bit_length() + 1) // 2
    mask = (1 << half) - 1
    while True:
        left, right = place >> half, place & mask
        for number in range(_ROUNDS):
            left, right = right, left ^ (scramble(key, number, right) & mask)
        place = left << half | right
        if place < size:
            return place


@lru_cache(maxsize=64)
def _drawn(size: int, key: int) -> np.ndarray:
    return np.random.default_rng(key).permutation(size)
