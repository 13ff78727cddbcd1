"""What Cambrian's scripts share: the tail of an answer, its first character, numbers within 5 per cent."""

from __future__ import annotations

_ANNOUNCEMENTS = ("answer is", "answer is:", "answer:")
"""In this order: "answer is" goes first, so that the second never takes effect."""


def tail(text: str, trailing: str = ".") -> str:
    """Lower case; what follows the last announcement, without blanks around and some signs at its end.

    Args:
        text: What was said.
        trailing: Signs that are dropped at the end.
    """
    text = text.lower().strip()
    for announcement in _ANNOUNCEMENTS:
        text = text.rpartition(announcement)[2]
    return text.strip().rstrip(trailing)


def option(text: str, trailing: str = ".:,") -> str:
    """The answer to a multiple-choice question: its tail out of its brackets, in lower case."""
    return tail(text, trailing).lstrip("(").rstrip(")")


def number(text: str) -> float | None:
    """A number as Python reads it, without signs of thousands or per cent; None if it is none."""
    try:
        return float(text)
    except ValueError:
        return None


def near(text: str, reference: str) -> bool:
    """Both are numbers, the first within 5 per cent of the reference."""
    value, centre = number(text), number(reference)
    return value is not None and centre is not None and abs(value - centre) <= abs(centre) * 0.05
