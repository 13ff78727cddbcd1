"""How the next word is chosen."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import LogitsProcessor, TopPLogitsWarper


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The likeliest word each time, or one by lot.

    Attributes:
        max_new_tokens: Tokens of an answer at most.
        temperature: 0 = the likeliest word (greedy); above, words are drawn, the more freely the higher it is.
        top_p: Words are drawn from the likeliest that together have this probability; 1 = from all.
        seed: Of the draws. They follow from it and from the question's name alone: a question draws the same in a
            batch, by itself, and streamed.

    Raises:
        ValueError: A number is out of range.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}; raise it")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be at least 0 (greedy), got {self.temperature}; try 0.7")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}; 1 draws from all words")

    def processors(self, names: Sequence[str]) -> list[LogitsProcessor]:
        """What `generate` needs beside greedy search, for questions of these names."""
        return [DrawRows(self, names)] if self.temperature > 0 else []


class DrawRows(LogitsProcessor):
    """Adds Gumbel noise to scores, so that the largest is a draw: each sample of a batch by a generator of its own.

    Args:
        sampling: Temperature, nucleus and seed.
        names: Of the samples.
    """

    def __init__(self, sampling: Sampling, names: Sequence[str]) -> None:
        self.temperature = sampling.temperature
        self.nucleus = TopPLogitsWarper(sampling.top_p) if sampling.top_p < 1 else None
        self.generators = [torch.Generator().manual_seed(_seed(sampling.seed, name)) for name in names]

    def __call__(
        self, input_ids: Int[Tensor, "batch token"], scores: Float[Tensor, "batch word"]
    ) -> Float[Tensor, "batch word"]:
        """The scores, warped and with noise."""
        warped = scores.float() / self.temperature
        if self.nucleus is not None:
            warped = self.nucleus(input_ids, warped)
        noise = torch.stack(
            [torch.zeros(scores.shape[-1]).exponential_(generator=one) for one in self.generators]
        )
        return warped - noise.log().to(warped.device)


def _seed(seed: int, name: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{name}".encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
