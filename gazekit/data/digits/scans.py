"""Real scans of handwritten digits, split once into three sets that never meet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

Split = Literal["train", "validation", "test"]

SIDE = 8
NUM_CLASSES = 10
_SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}
_SALT = "gazekit digits"


@dataclass(frozen=True, eq=False)
class Scans:
    """The scans of one split, sorted by the digit they show.

    Attributes:
        pixels: Ink of each pixel, 0 = paper to 1 = full ink.
        labels: The digit that each scan shows, 0 to 9, ascending.
        source: Which scan of the whole collection each one is.
        first: Where each digit's scans begin in `labels`.
        count: How many scans each digit has.
    """

    pixels: Float[np.ndarray, "scan 8 8"]
    labels: Int[np.ndarray, " scan"]
    source: Int[np.ndarray, " scan"]
    first: Int[np.ndarray, " 10"]
    count: Int[np.ndarray, " 10"]


def check_split(split: str) -> None:
    """Refuses the name of a split that does not exist.

    Raises:
        ValueError: If `split` is none of train, validation and test.
    """
    if split not in get_args(Split):
        raise ValueError(
            f"split must be one of {', '.join(get_args(Split))}, got {split!r}; scans have no other split"
        )


@cache
def load_scans(split: Split) -> Scans:
    """Loads the scans of one split: 70 % train, 10 % validation, 20 % test of every digit.

    The 1,797 scans are those that scikit-learn carries (UCI's optical recognition of handwritten digits).
    They are split once, by a hash and not by a generator: neither a run's seed nor a version of numpy moves a
    scan from one split to another.

    Raises:
        ValueError: If `split` is unknown.
        ImportError: If scikit-learn is not installed.
    """
    check_split(split)
    pixels, labels = _collection()
    source = np.sort(np.concatenate([_members(labels, digit)[split] for digit in range(NUM_CLASSES)]))
    source = source[np.argsort(labels[source], kind="stable")]
    count = np.bincount(labels[source], minlength=NUM_CLASSES)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    return Scans(pixels=pixels[source], labels=labels[source], source=source, first=first, count=count)


@cache
def _collection() -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the digits set needs scikit-learn, which carries its scans;"
            " install it with: pip install 'gazekit[demo]'"
        ) from error
    bunch = load_digits()
    return (bunch.images / 16).astype(np.float32), bunch.target.astype(np.int64)


def _members(labels: np.ndarray, digit: int) -> dict[str, np.ndarray]:
    """One digit's scans, dealt to the splits in the order of a hash of their place in the collection."""
    own = np.flatnonzero(labels == digit)
    shuffled = np.array(sorted(own.tolist(), key=lambda scan: blake2b(f"{_SALT} {scan}".encode()).digest()))
    ends = np.round(np.cumsum(list(_SHARES.values())) * len(shuffled)).astype(int)
    return dict(zip(_SHARES, np.split(shuffled, ends[:-1]), strict=True))
