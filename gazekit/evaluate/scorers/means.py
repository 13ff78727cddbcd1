"""From scored samples to figures: what several benchmarks share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
"""One scored sample: the fields of its doc, with `score` and `parsed`."""


def mean(scores: Sequence[float]) -> float:
    """The mean; 0 of nothing."""
    return sum(scores) / len(scores) if scores else 0.0


def accuracy(records: Sequence[Row]) -> float:
    """The mean score, each record counting once."""
    return mean([float(record["score"]) for record in records])


def grouped(records: Sequence[Row], *fields: str) -> dict[Hashable, list[Row]]:
    """Records by the value of a field (of several: by the tuple of their values), in order of first appearance."""
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for record in records:
        values = tuple(record[field] for field in fields)
        groups[values if len(fields) > 1 else values[0]].append(record)
    return dict(groups)


def exact_match(records: Sequence[Row]) -> dict[str, float]:
    """`exact_match`: the share (0 to 1) of right answers."""
    return {"exact_match": accuracy(records)}
