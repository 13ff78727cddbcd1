"""The latest tokens before a query."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from gazekit.contracts import Tokens


@dataclass(frozen=True, kw_only=True)
class WindowContext:
    """Keeps the last `size` tokens in view: the sliding window of Longformer, Mistral or NSA's third branch.

    Args:
        size: Tokens, the query's own among them, at least 1.

    Raises:
        ValueError: `size` is below 1.
    """

    size: int = 512

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(
                f"size must be at least 1 token, got {self.size}; use Gaze(context=None) for none"
            )

    @property
    def num_tokens(self) -> int:
        """No learned tokens."""
        return 0

    def keeps(self, query: Tokens, key: Tokens) -> Bool[Tensor, "batch #head query key"]:
        """True = fewer than `size` tokens before the query."""
        return query.order[..., :, None] - key.order[..., None, :] < self.size
