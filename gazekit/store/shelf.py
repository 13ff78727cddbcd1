"""What a store holds at one moment: keys and values in some memory, with the ledger that says what lies where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.contracts import Entries, Look, Tokens
from gazekit.store.ledger import Ledger
from gazekit.store.memory import tracked
from gazekit.store.places import Places

_Self = TypeVar("_Self")


@runtime_checkable
class Memory(Protocol):
    """Where keys and values lie, by place: `room` places of regions first, free ones behind them."""

    @property
    def tracked(self) -> bool:
        """Whether autograd follows what was written, so that it must not be written over."""

    def write(self: _Self, place: Int[Tensor, "batch #kv_head query"], look: Look, room: int) -> _Self:
        """Puts a look's keys and values where `place` says; the last place of all is for what nobody keeps."""

    def arrange(self: _Self, source: Int[Tensor, "batch #kv_head place"], before: int, room: int) -> _Self:
        """What lies at `source` comes to lie at each place, -1 = nothing; the regions had `before` places."""

    def grow(self: _Self, more: int) -> _Self:
        """So many more places behind all others."""

    def forget(self: _Self) -> _Self:
        """Without copies of what may be written anew."""

    def reorder(self: _Self, sample: Int[Tensor, " new_batch"]) -> _Self:
        """The samples `sample`, as beam search permutes them."""


M = TypeVar("M", bound=Memory)


@dataclass(frozen=True)
class Shelf(Generic[M]):
    """All that a store holds at one moment.

    Attributes:
        memory: Keys and values.
        ledger: What lies where.
    """

    memory: M
    ledger: Ledger

    @property
    def tokens(self) -> Tokens:
        """By place; padding where nothing lies."""
        return self.ledger.tokens

    @property
    def position(self) -> Int[Tensor, "batch #kv_head place"]:
        """Place in the sequence of what lies at each place, -1 where nothing lies."""
        return self.ledger.position

    @property
    def places(self) -> Places:
        """Which of the places belong to which region."""
        return self.ledger.places

    def entries(self, key: Tensor, value: Tensor) -> Entries:
        """What is stored, as views; the key and value of each place are given."""
        places = self.places
        tokens, position = self.ledger.stored
        return Entries(
            key=key[:, :, : places.end],
            value=value[:, :, : places.end],
            tokens=tokens,
            position=position,
            begin=places.begin,
            count=places.count,
            free=places.room,
        )

    def put(self, look: Look, tokens: Tokens) -> Shelf[M]:
        """Takes in the keys and values of a look; what is not tracked by autograd is written in place."""
        before = self.position.shape[2]
        ledger = self.ledger.enter(tokens, in_place=not (self.memory.tracked or tracked(look)))
        assert ledger.came is not None, "something was entered"
        more = ledger.position.shape[2] - before
        memory = self.memory.grow(more) if more else self.memory
        return Shelf(memory.write(ledger.came, look, self.places.room), ledger)

    def arrange(
        self,
        alive: Bool[Tensor, "batch #kv_head place"],
        size: Int[Tensor, "batch region"],
        seen: Int[Tensor, "batch region"],
        length: int,
    ) -> Shelf[M]:
        """Lays what is `alive` out anew, for regions of these sizes of which `seen` members arrived.

        It is the store of the first `length` tokens then.
        """
        ledger, source = self.ledger.arranged(alive, size, seen, length)
        return Shelf(self.memory.arrange(source, self.places.room, ledger.places.room), ledger)

    def forget(self, length: int, seen: Int[Tensor, "batch region"], used: int) -> Shelf[M]:
        """Drops the entries from position `length` on, the last ones of their regions; nothing moves."""
        gone, places = self.position >= length, self.places
        bins = torch.where(self.tokens.owner >= 0, self.tokens.owner, seen.shape[1])
        dropped = torch.zeros(*bins.shape[:2], seen.shape[1] + 1, dtype=torch.int64, device=gone.device)
        dropped = dropped.scatter_add(2, bins, gone.expand_as(bins).long())
        left = replace(
            places, seen=seen, used=used, count=places.count - dropped[..., :-1],
            loose=places.loose - dropped[..., -1],
        )  # fmt: skip
        return Shelf(self.memory.forget(), self.ledger.until(length, left))

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> Shelf[M]:
        """The samples `sample`, as beam search permutes them."""
        return Shelf(self.memory.reorder(sample), self.ledger.reorder(sample))


def first_shelf(memory: M, look: Look, tokens: Tokens, size: Int[Tensor, "batch region"]) -> Shelf[M]:
    """A shelf with places for regions of these sizes that has taken in a look.

    Args:
        memory: Of one free place, which becomes as many as there are.
        look: Its keys and values align with `tokens`.
        tokens: What they are.
        size: Members of each region as declared.
    """
    ledger = Ledger.empty(size).enter(tokens, in_place=not tracked(look))
    assert ledger.came is not None, "something was entered"
    room = ledger.places.room
    memory = memory.arrange(torch.full_like(ledger.position, -1), 0, room)
    return Shelf(memory.write(ledger.came, look, room), ledger)
