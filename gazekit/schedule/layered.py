"""Some layers earlier than others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from gazekit.contracts import Schedule

First = Literal["deep", "shallow"]


@dataclass(frozen=True, kw_only=True)
class LayeredSchedule:
    """Lets the layers follow one schedule in turn: the deep ones first, since what they read can be spared soonest.

    A layer starts the inner schedule up to `lag` later than the first one to start, by its depth, and runs it in the
    remaining `1 - lag` of training; so all start dense where it does and end where it ends. Different schedules for
    different layers that follow no such order are a list of compositions.

    Args:
        inner: What each layer follows.
        lag: Share of training by which the last layer to start is late, in (0, 1).
        first: Which layers start first, "deep" or "shallow".

    Raises:
        ValueError: `lag` is outside (0, 1), or `first` is unknown.
    """

    inner: Schedule
    lag: float = 0.5
    first: First = "deep"

    def __post_init__(self) -> None:
        if not 0 < self.lag < 1:
            raise ValueError(
                f"lag must lie in (0, 1), got {self.lag}; without a lag use the inner schedule itself"
            )
        if self.first not in get_args(First):
            raise ValueError(f'first must be "deep" or "shallow", got {self.first!r}')

    def __call__(self, progress: float, depth: float = 0.0) -> float:
        """Openness at `progress` in [0, 1] of training of the layer at `depth` in [0, 1]."""
        turn = 1 - depth if self.first == "deep" else depth
        own = (progress - self.lag * turn) / (1 - self.lag)
        # At the very end every layer has come to its own, whatever rounding says.
        return self.inner(1.0 if progress >= 1 else min(max(own, 0.0), 1.0), depth)
