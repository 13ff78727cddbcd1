"""A sample that does not fit."""

from __future__ import annotations


class TooLongError(ValueError):
    """Cut to the length that is allowed, a sample has nothing left to learn from.

    A processor raises it; whoever reads data may show less of the sample, or take another.
    """
