"""A row as filters see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gazekit.data.records.fault import RowFault
from gazekit.data.records.root import DataRoot
from gazekit.data.records.schema import duration_of


@dataclass(frozen=True)
class Row:
    """What a filter judges.

    Attributes:
        number: Of the row in its file.
        values: Parsed JSON, nothing of it checked.
        root: What its paths are relative to.
    """

    number: int
    values: Mapping[str, Any]
    root: DataRoot | None = None


def has_video(row: Row) -> bool:
    """Whether a row shows a video."""
    return any(row.values.get(key) for key in ("video", "videos"))


def video_seconds(row: Row) -> float | None:
    """How long a row's video is by what the row says; None = it does not say, or says it wrongly.

    A row that says it wrongly stays in, and counts as broken when its turn comes.
    """
    try:
        return duration_of(row.values)
    except RowFault:
        return None
