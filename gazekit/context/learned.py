"""Learned tokens that stand for a whole unit."""

from __future__ import annotations

from dataclasses import dataclass

from gazekit.contracts import Tokens


@dataclass(frozen=True, kw_only=True)
class LearnedContext:
    """Appends learned context tokens to every unit: the paper's context tokens (4).

    They attend to their own unit alone and every later query sees them, so they carry what the chosen regions
    lack: the gist of the scene. The embeddings are the model's; here stands how many there are.

    Args:
        num_tokens: Context tokens per unit, at least 1.

    Raises:
        ValueError: `num_tokens` is below 1.
    """

    num_tokens: int = 4

    def __post_init__(self) -> None:
        if self.num_tokens < 1:
            raise ValueError(
                f"num_tokens must be at least 1, got {self.num_tokens}; use Gaze(context=None) for none"
            )

    def keeps(self, query: Tokens, key: Tokens) -> None:
        """No rule is needed: context tokens are in no region, hence always in view."""
        return None
