"""What is wrong with one row of a data set."""

from __future__ import annotations

from typing import Literal, get_args

FaultKind = Literal[
    "json", "type", "turns", "answer", "marks", "outside", "missing", "empty", "broken", "bomb", "frames",
    "reader", "many", "long", "duplicate",
]  # fmt: skip
"""Each fault has one of these kinds; `COLUMNS` says which of them a report adds up."""

COLUMNS: dict[str, tuple[FaultKind, ...]] = {
    "missing": ("missing",),
    "broken": ("empty", "broken", "bomb", "frames", "reader"),
    "malformed": ("json", "type", "turns", "answer", "marks"),
    "outside": ("outside",),
    "too_long": ("many", "long"),
    "duplicated": ("duplicate",),
}
"""The columns of a report: a file that is not there; one that cannot be used; a row that is no conversation; a path
that leads out of the root; a sample that is too large; a row that is there twice."""


class RowFault(ValueError):
    """One row cannot be used.

    Args:
        kind: What sort of fault.
        message: What is wrong, and what to do about it.
    """

    def __init__(self, kind: FaultKind, message: str) -> None:
        assert kind in get_args(FaultKind), kind
        super().__init__(kind, message)  # both, so that it survives the way out of a worker process

    @property
    def kind(self) -> FaultKind:
        """What sort of fault."""
        return self.args[0]

    def __str__(self) -> str:
        return self.args[1]


def column_of(kind: FaultKind) -> str:
    """The column of a report that a kind is counted in."""
    return next(column for column, kinds in COLUMNS.items() if kind in kinds)
