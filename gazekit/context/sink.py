"""The first tokens of a document."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from gazekit.contracts import Tokens


@dataclass(frozen=True, kw_only=True)
class SinkContext:
    """Keeps the first `num` tokens of a document in view: attention sinks (Xiao et al. 2023, StreamingLLM).

    Softmax puts the weight that it has no use for on them; models lose their footing without. It matters where the
    beginning is in regions, as with runs of all tokens; text in no region is in view anyway.

    Args:
        num: Tokens, counted from the beginning of the document, at least 1. Tokens of an image that see each
            other are counted as one, at the image's end.

    Raises:
        ValueError: `num` is below 1.
    """

    num: int = 4

    def __post_init__(self) -> None:
        if self.num < 1:
            raise ValueError(f"num must be at least 1 token, got {self.num}; use Gaze(context=None) for none")

    @property
    def num_tokens(self) -> int:
        """No learned tokens."""
        return 0

    def keeps(self, query: Tokens, key: Tokens) -> Bool[Tensor, "batch #head query key"]:
        """True = one of the first tokens of its document."""
        first = key.order < self.num
        return first[:, :, None].expand(-1, -1, query.length, -1)
