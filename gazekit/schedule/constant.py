"""The same openness throughout."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ConstantSchedule:
    """Holds one openness: 0, the target, where training should not begin dense; 1 for a dense run.

    Args:
        openness: From 0 (the target) to 1 (dense).

    Raises:
        ValueError: `openness` is outside [0, 1].
    """

    openness: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.openness <= 1:
            raise ValueError(f"openness must lie in [0, 1], got {self.openness}; 0 is the target, 1 is dense")

    def __call__(self, progress: float, depth: float = 0.0) -> float:
        """The openness, whatever the progress and the layer."""
        return float(self.openness)
