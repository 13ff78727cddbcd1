"""What is wrong with a section, where, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ALIKE = 0.5
"""How alike two names are, from 0 to 1 (`difflib`'s ratio), for one to be offered in place of the other."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: Where, as in an override: `gaze.route.k`. Empty for the whole.
        problem: What is wrong and which rule it breaks.
        nearest: The valid name that was probably meant; None where nothing comes near.
    """

    path: str
    problem: str
    nearest: str | None = None

    def __str__(self) -> str:
        """One line that names place, problem and remedy."""
        place = f"{self.path}: " if self.path else ""
        return f"{place}{self.problem}" + (f"; did you mean `{self.nearest}`?" if self.nearest else "")


class SectionError(ValueError):
    """A section that cannot be built, with every fault that was found in it.

    Attributes:
        faults: At least one.
    """

    def __init__(self, faults: Sequence[Fault], what: str = "section") -> None:
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}"
        super().__init__("\n".join([f"{count} in the {what}:", *(f"  {fault}" for fault in self.faults)]))


def nearest(word: str, names: Iterable[str], alike: float = ALIKE) -> str | None:
    """The name most like `word`, capitals aside; None where none is as much `alike` as asked."""
    folded = {name.casefold(): name for name in sorted(names)}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=alike)
    return folded[close[0]] if close else None


def join(path: str, key: object) -> str:
    """The path of an item: `join("gaze.route", "k")` is `gaze.route.k`."""
    return f"{path}.{key}" if path else str(key)
