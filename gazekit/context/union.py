"""Several contexts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from gazekit.contracts import Context, Tokens


@dataclass(frozen=True, kw_only=True)
class UnionContext:
    """Keeps what any of its parts keeps: learned tokens beside sinks and a window, say.

    Args:
        parts: Contexts, at least one; their learned tokens add up.

    Raises:
        ValueError: There is no part.
    """

    parts: Sequence[Context]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("parts must be at least one context, got none; use Gaze(context=None) for none")
        object.__setattr__(self, "parts", tuple(self.parts))

    @property
    def num_tokens(self) -> int:
        """Learned tokens of all parts together."""
        return sum(part.num_tokens for part in self.parts)

    def keeps(self, query: Tokens, key: Tokens) -> Bool[Tensor, "batch #head query key"] | None:
        """True = one of the parts keeps it; None where none of them has a rule."""
        kept = None
        for part in self.parts:
            rule = part.keeps(query, key)
            if rule is not None:
                kept = rule if kept is None else kept | rule
        return kept
