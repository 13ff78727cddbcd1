"""Several samples in one row of a batch, so that little of it is padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_IGNORED = -100


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Which samples share a row: the longest first, each into the first row that has room (first-fit decreasing).

    At most about 22 % more rows than the fewest possible. A sample that is longer than the capacity has a row to
    itself: nothing is cut off.

    >>> pack([5, 3, 9, 2], capacity=8)
    [[0, 1], [2], [3]]

    Args:
        lengths: Tokens of each sample, vision included.
        capacity: Tokens that a row holds.

    Returns:
        Indices of the samples of each row, ascending; rows in the order of their first samples.

    Raises:
        ValueError: `capacity` is below 1.
    """
    if capacity < 1:
        raise ValueError(f"capacity must be at least 1 token, got {capacity}")
    rows: list[list[int]] = []
    room: list[int] = []
    for index in _longest_first(lengths):
        fit = next((row for row, left in enumerate(room) if left >= lengths[index]), None)
        if fit is None:
            rows.append([])
            room.append(capacity)
            fit = len(rows) - 1
        rows[fit].append(index)
        room[fit] -= lengths[index]
    return sorted(sorted(row) for row in rows)


def balance(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Divides samples into parts of about equally many tokens: the longest first, each to the part with the fewest.

    >>> balance([5, 3, 9, 2], parts=2)
    [[0, 1, 3], [2]]

    Args:
        lengths: Tokens of each sample, vision included.
        parts: How many; each gets a sample at least.

    Returns:
        Indices of the samples of each part, ascending; parts in the order of their first samples.

    Raises:
        ValueError: `parts` is below 1, or there are fewer samples.
    """
    if not 1 <= parts <= len(lengths):
        raise ValueError(f"parts must be between 1 and the {len(lengths)} samples, got {parts}")
    chosen: list[list[int]] = [[] for _ in range(parts)]
    tokens = [0] * parts
    for index in _longest_first(lengths):
        least = min(range(parts), key=lambda part: (tokens[part], len(chosen[part])))
        chosen[least].append(index)
        tokens[least] += lengths[index]
    return sorted(sorted(part) for part in chosen)


def join(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """One row of several encoded samples: tokens and images one after another, and which sample each token is of.

    Nobody predicts the first token of a sample, since what stands before it is another's.

    Args:
        samples: `input_ids` and `labels` [token], `pixel_values` [unit 3 height width], `clip_lengths` [clip].

    Returns:
        The same of the row, and `document_ids` [token]: the number of each token's sample, from 0.
    """
    row = {name: torch.cat([sample[name] for sample in samples]) for name in samples[0]}
    sizes = torch.tensor([len(sample["input_ids"]) for sample in samples])
    row["document_ids"] = torch.arange(len(samples)).repeat_interleave(sizes)
    if "labels" in row:
        row["labels"][sizes.cumsum(0)[sizes > 0] - sizes[sizes > 0]] = _IGNORED
    return row


def _longest_first(lengths: Sequence[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
