"""From dense to the target in the course of training."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Literal, get_args

Shape = Literal["linear", "cosine", "exponential", "steps"]

_DECAY = 5.0
_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class ProgressiveSchedule:
    """Closes the routing little by little: the paper's progressive top-K.

    Openness is 1 until progress `start`, 0 from `end` on, and never rises between.

    Args:
        shape: "linear"; "cosine" (slow, fast, slow: half a period); "exponential" (fast, then slow: decays by
            e^5, stretched to end at 0); "steps" (four equal drops).
        start: Share of training that stays dense, in [0, 1).
        end: Share of training after which the target holds, in (`start`, 1].

    Raises:
        ValueError: `shape` is unknown, or not `0 <= start < end <= 1`.
    """

    shape: Shape = "linear"
    start: float = 0.0
    end: float = 0.5

    def __post_init__(self) -> None:
        shapes = get_args(Shape)
        if self.shape not in shapes:
            near = difflib.get_close_matches(str(self.shape), shapes, n=1, cutoff=0.0)
            known = ", ".join(shapes)
            raise ValueError(f"shape must be one of {known}, got {self.shape!r}; did you mean {near[0]!r}?")
        if not 0 <= self.start < self.end <= 1:
            raise ValueError(
                f"start and end must satisfy 0 <= start < end <= 1, got start={self.start}, end={self.end}; "
                "both are shares of training. Use ConstantSchedule for one openness throughout"
            )

    def __call__(self, progress: float, depth: float = 0.0) -> float:
        """Openness at `progress` in [0, 1] of training, the same in all layers."""
        if progress <= self.start:
            return 1.0
        if progress >= self.end:
            return 0.0
        done = (progress - self.start) / (self.end - self.start)
        if self.shape == "linear":
            return 1.0 - done
        if self.shape == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        if self.shape == "exponential":
            rest = math.exp(-_DECAY)
            return (math.exp(-_DECAY * done) - rest) / (1.0 - rest)
        return 1.0 - math.floor(done * _STEPS) / _STEPS
