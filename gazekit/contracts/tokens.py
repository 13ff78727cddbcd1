"""What every token is: the five integers that all rules of attention read."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

# Written out, since torch.compile cannot follow dataclasses.fields of a class.
_FIELDS = ("kind", "unit", "document", "order", "owner")


class Kind(enum.IntEnum):
    """What a token is."""

    PAD = 0
    TEXT = 1
    VISUAL = 2
    CONTEXT = 3


@dataclass(frozen=True)
class Tokens:
    """What queries, and likewise keys, are. The head axis is 1 where all KV heads hold the same tokens.

    Attributes:
        kind: A `Kind`.
        unit: The image or video frame that the token belongs to, counted within its sample; -1 = none.
        document: The packed document within its sample, from 0; -1 = padding.
        order: Position among the real tokens of its document, from 0. A query reaches keys of lower or equal
            order, so tokens of equal order see each other.
        owner: The region that the token is a member of; -1 = free, in no region.
    """

    kind: Int[Tensor, "batch #kv_head token"]
    unit: Int[Tensor, "batch #kv_head token"]
    document: Int[Tensor, "batch #kv_head token"]
    order: Int[Tensor, "batch #kv_head token"]
    owner: Int[Tensor, "batch #kv_head token"]

    @property
    def valid(self) -> Bool[Tensor, "batch #kv_head token"]:
        """True = real, False = padding."""
        return self.kind != int(Kind.PAD)

    @property
    def length(self) -> int:
        """How many tokens there are, padding included."""
        return self.kind.shape[-1]

    def narrow(self, start: int, stop: int) -> Tokens:
        """The tokens of `[start, stop)`."""
        return self._map(lambda field: field[..., start:stop])

    def take(self, index: Int[Tensor, "batch #kv_head new"]) -> Tokens:
        """The tokens at `index`, per sample (and per KV head where `index` has that axis); -1 gives padding."""
        blank = {"kind": int(Kind.PAD)}
        taken = {}
        for name in _FIELDS:
            source = getattr(self, name)
            heads = max(source.shape[1], index.shape[1])
            source, where = source.expand(-1, heads, -1), index.expand(-1, heads, -1)
            value = source.gather(2, where.clamp_min(0))
            taken[name] = value.masked_fill(where < 0, blank.get(name, -1))
        return Tokens(**taken)

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> Tokens:
        """The samples `sample`, as beam search permutes them."""
        return self._map(lambda field: field.index_select(0, sample))

    def owned_by(self, owner: Int[Tensor, "batch #kv_head token"]) -> Tokens:
        """The same tokens as members of other regions."""
        return replace(self, owner=owner)

    def to(self, device: torch.device | str) -> Tokens:
        """The same tokens on another device."""
        return self._map(lambda field: field.to(device))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Tokens:
        return Tokens(**{name: function(getattr(self, name)) for name in _FIELDS})


def concatenate(parts: list[Tokens]) -> Tokens:
    """Tokens one after another; head axes of 1 are expanded where another part has more."""
    heads = max(part.kind.shape[1] for part in parts)
    joined = {
        name: torch.cat([getattr(part, name).expand(-1, heads, -1) for part in parts], dim=2)
        for name in _FIELDS
    }
    return Tokens(**joined)
