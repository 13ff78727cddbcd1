"""What a pooler keeps of each token, beside the keys."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

_SLACK = 64


@dataclass(frozen=True)
class FeatureMemory:
    """Features of all tokens seen, in the order of the sequence; the buffer grows by doubling.

    Written in place, unless autograd follows: what `at` gave earlier stays as it was.

    Attributes:
        buffer: Features of the first `length` tokens, room for more behind them.
        length: Tokens seen, padding included.
    """

    buffer: Float[Tensor, "batch feature_head room feature"]
    length: int

    @staticmethod
    def of(features: Float[Tensor, "batch feature_head token feature"]) -> FeatureMemory:
        """A memory of the first tokens of a sequence."""
        return FeatureMemory(features, features.shape[2])

    def append(self, features: Float[Tensor, "batch feature_head new feature"]) -> FeatureMemory:
        """The memory with the tokens that follow."""
        stop = self.length + features.shape[2]
        if features.requires_grad or self.buffer.requires_grad:
            return FeatureMemory.of(torch.cat([self.buffer[:, :, : self.length], features], dim=2))
        buffer = self.buffer
        if stop > buffer.shape[2]:
            more = max(stop - buffer.shape[2], buffer.shape[2], _SLACK)
            buffer = torch.nn.functional.pad(buffer, (0, 0, 0, more))
        buffer[:, :, self.length : stop] = features
        return FeatureMemory(buffer, stop)

    def at(self, position: Int[Tensor, "batch 1 entry"]) -> Float[Tensor, "batch feature_head entry feature"]:
        """The features of the tokens at these places of the sequence; some token's where it is -1."""
        index = position.clamp_min(0)[..., None]
        return self.buffer.gather(2, index.expand(-1, self.buffer.shape[1], -1, self.buffer.shape[3]))

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> FeatureMemory:
        """The samples `sample`, as beam search permutes them."""
        return replace(self, buffer=self.buffer.index_select(0, sample))

    def until(self, length: int) -> FeatureMemory:
        """The memory of the first `length` tokens alone."""
        return replace(self, length=length)
