"""What a store holds at one moment: keys and values in some memory, with the integers that say what lies where."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.contracts import Entries, Look, Tokens, concatenate
from gazekit.store.memory import put, spot, tracked
from gazekit.store.places import Places, arrange, arrive

_SLACK = 64


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
    """All that a store holds at one moment: the places in use, some to spare, one for what is not stored.

    Attributes:
        memory: Keys and values.
        tokens: Padding where nothing lies.
        position: Place in the sequence, -1 where nothing lies.
        places: Which of the places belong to which region.
    """

    memory: M
    tokens: Tokens
    position: Int[Tensor, "batch #kv_head place"]
    places: Places

    def entries(self, key: Tensor, value: Tensor) -> Entries:
        """What is stored, as views; the key and value of each place are given."""
        end = self.places.end
        return Entries(
            key=key[:, :, :end],
            value=value[:, :, :end],
            tokens=self.tokens.narrow(0, end),
            position=self.position[..., :end],
            begin=self.places.begin,
            count=self.places.count,
            free=self.places.room,
        )

    def put(self, look: Look, tokens: Tokens, start: int) -> Shelf[M]:
        """Takes in the keys and values of a look, whose first token has the position `start`.

        What is not tracked by autograd is written in place.
        """
        arrival = arrive(self.places, tokens)
        roomy = self._reserve(arrival.places)
        position = torch.arange(start, start + tokens.length, device=look.key.device)
        position = torch.where(tokens.valid, position, -1)
        place = torch.where(arrival.place >= 0, arrival.place, roomy.position.shape[2] - 1)
        in_place = not (self.memory.tracked or tracked(look))
        facts = spot(place, roomy.position.shape[1])
        names = [field.name for field in fields(Tokens)]
        return replace(
            roomy,
            memory=roomy.memory.write(place, look, self.places.room),
            tokens=Tokens(
                **{n: put(getattr(roomy.tokens, n), facts, getattr(tokens, n), in_place) for n in names}
            ),
            position=put(roomy.position, facts, position, in_place),
            places=arrival.places,
        )

    def arrange(
        self,
        alive: Bool[Tensor, "batch #kv_head place"],
        size: Int[Tensor, "batch region"],
        seen: Int[Tensor, "batch region"],
    ) -> Shelf[M]:
        """Lays what is `alive` out anew, for regions of these sizes of which `seen` members arrived."""
        arrangement = arrange(self.tokens.owner, alive, size, seen)
        source = torch.nn.functional.pad(arrangement.source, (0, _SLACK), value=-1)
        return replace(
            self,
            memory=self.memory.arrange(source, self.places.room, arrangement.places.room),
            tokens=self.tokens.take(source),
            position=self.position.expand(-1, source.shape[1], -1)
            .gather(2, source.clamp_min(0))
            .masked_fill(source < 0, -1),
            places=arrangement.places,
        )

    def forget(self, length: int, seen: Int[Tensor, "batch region"], used: int) -> Shelf[M]:
        """Drops the entries from position `length` on, the last ones of their regions; nothing moves."""
        gone = self.position >= length
        index = torch.arange(gone.shape[2], device=gone.device).masked_fill(gone, -1)
        places = self.places
        bins = torch.where(self.tokens.owner >= 0, self.tokens.owner, seen.shape[1])
        dropped = torch.zeros(*bins.shape[:2], seen.shape[1] + 1, dtype=torch.int64, device=gone.device)
        dropped = dropped.scatter_add(2, bins, gone.expand_as(bins).long())
        return replace(
            self,
            memory=self.memory.forget(),
            tokens=self.tokens.take(index),
            position=self.position.masked_fill(gone, -1),
            places=replace(
                places,
                seen=seen,
                used=used,
                count=places.count - dropped[..., :-1],
                loose=places.loose - dropped[..., -1],
            ),
        )

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> Shelf[M]:
        """The samples `sample`, as beam search permutes them."""
        return replace(
            self,
            memory=self.memory.reorder(sample),
            tokens=self.tokens.reorder(sample),
            position=self.position.index_select(0, sample),
            places=self.places.reorder(sample),
        )

    def _reserve(self, places: Places) -> Shelf[M]:
        """Makes room for all places and one behind them; what lies behind the regions at least doubles."""
        have = self.position.shape[2]
        if places.end < have:
            return self
        more = max(places.end + 1 - have, have - places.room, _SLACK)
        blank = torch.full((*self.position.shape[:2], more), -1, dtype=torch.int64, device=places.size.device)
        return replace(
            self,
            memory=self.memory.grow(more),
            tokens=concatenate([self.tokens, Tokens(torch.zeros_like(blank), blank, blank, blank, blank)]),
            position=torch.cat([self.position, blank], dim=2),
        )


def empty_shelf(memory: M, size: Int[Tensor, "batch region"]) -> Shelf[M]:
    """A shelf over a memory of one free place: places for regions of these sizes, nothing on it."""
    blank = torch.full((size.shape[0], 1, 1), -1, dtype=torch.int64, device=size.device)
    zero = torch.zeros_like(size)
    shelf = Shelf(
        memory=memory,
        tokens=Tokens(torch.zeros_like(blank), blank, blank, blank, blank),
        position=blank,
        places=Places(zero, zero, zero[:, None], zero[:, None], 0, blank[..., 0] + 1, 0),
    )
    return shelf.arrange(blank >= 0, size, zero)
