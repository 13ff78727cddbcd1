"""Counts what is broken, and stops a run that meets too much of it."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gazekit.data.quarantine import BrokenRow, Quarantine

_LOG = logging.getLogger("gazekit.data")
_GRACE = 100
_SIGMAS = 3
_SHOWN = 3


class BrokenDataError(ValueError):
    """More of the data is broken than was allowed for."""


class Tally:
    """Keeps count of samples and of broken rows.

    A share is judged from the hundredth row on, and with the last batch. So that chance stops no run, as many broken
    rows are let pass as `max_broken` allows and three times the square root of that: 4 of the first 100 at 1 %, 10,300
    of a million. Broken rows count whenever they are met, as good ones do.

    Args:
        max_broken: Largest share of broken rows among those that were read, from 0 to 1.
        quarantine: Where broken rows are written down; None = nowhere.

    Raises:
        ValueError: `max_broken` is no share.
    """

    def __init__(self, max_broken: float, quarantine: Quarantine | None = None) -> None:
        if not 0 <= max_broken <= 1:
            raise ValueError(
                f"max_broken must be from 0 to 1, got {max_broken}; 0.01 allows one row in a hundred"
            )
        self.max_broken = max_broken
        self.quarantine = quarantine
        self.samples = 0
        self.broken: Counter[tuple[str, str]] = Counter()
        self.last: dict[tuple[str, str], str] = {}

    def take(self, samples: int, broken: Sequence[BrokenRow]) -> None:
        """Counts a batch.

        Raises:
            BrokenDataError: The share of broken rows is above `max_broken`, and not by chance.
        """
        self.samples += samples
        for row in broken:
            sort = (row.source, row.kind)
            if sort not in self.last:
                _LOG.warning("%s: row %d is passed over (%s): %s", row.source, row.row, row.kind, row.message)
            self.broken[sort] += 1
            self.last[sort] = row.message
        if self.quarantine is not None:
            self.quarantine.add(broken)
        if self.samples + self.num_broken >= _GRACE:
            self.judge()

    @property
    def num_broken(self) -> int:
        """Broken rows that were met."""
        return sum(self.broken.values())

    def judge(self) -> None:
        """Compares the share with what is allowed.

        Raises:
            BrokenDataError: It is above, and not by chance.
        """
        read = self.samples + self.num_broken
        allowed = self.max_broken * read
        if self.num_broken > allowed + _SIGMAS * math.sqrt(allowed):
            raise BrokenDataError(
                f"{self.num_broken:,} of {read:,} rows read are broken ({self.num_broken / read:.1%}), more than "
                f"max_broken {self.max_broken:.1%}: {self.summary()}; "
                + (f"they are listed in {self.quarantine.path}; " if self.quarantine else "")
                + "see `gazekit data check`, filter them out (NotQuarantined), or raise max_broken"
            )

    def summary(self) -> str:
        """The sorts of fault that were met most, by source, with an example each."""
        most = self.broken.most_common(_SHOWN)
        more = len(self.broken) - len(most)
        told = [f"{count:,} {kind} in {source} ({self.last[source, kind]})" for (source, kind), count in most]
        return "; ".join(told) + (f"; {more} other sorts" if more > 0 else "")

    def close(self) -> None:
        """With the last batch: logs what was passed over, and judges.

        Raises:
            BrokenDataError: The share of broken rows is above `max_broken`.
        """
        if self.broken:
            _LOG.warning("%d rows were passed over: %s", self.num_broken, self.summary())
        self.judge()

    def state_dict(self) -> dict[str, Any]:
        """The counts, as plain values."""
        return {
            "samples": self.samples,
            "broken": [[*sort, count, self.last[sort]] for sort, count in sorted(self.broken.items())],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes counts from a checkpoint."""
        self.samples = state["samples"]
        self.broken = Counter({(source, kind): count for source, kind, count, _ in state["broken"]})
        self.last = {(source, kind): message for source, kind, _, message in state["broken"]}
