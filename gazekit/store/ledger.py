"""What lies where, in integers: one ledger for all layers that took in the same tokens."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from gazekit.contracts import Tokens, concatenate
from gazekit.store.memory import put, spot
from gazekit.store.places import Places, arrange, arrive

_SLACK = 64


class _Next(NamedTuple):
    """The ledger that was made of another one by these tokens."""

    tokens: weakref.ref[Tokens]
    in_place: bool
    ledger: weakref.ref[Ledger]


@dataclass(eq=False, kw_only=True)
class Ledger:
    """The places in use, some to spare, and behind them one for what is not stored.

    The layers of a decoder take in the same tokens, so the first one keeps the books for all of them: who enters the
    very same tokens into the same ledger gets the one that was made then. It is written in place, and what is written
    belongs to the latest; one that was left behind reads as it was after `settled`.

    Attributes:
        tokens: Padding where nothing lies.
        position: Place in the sequence, -1 where nothing lies.
        places: Which of the places belong to which region.
        length: Tokens seen, padding included; no position reaches it.
        came: Where the tokens went that were entered last; the last place of all for those that are not stored.
        overwritten: A later one was written into it, so that it must be `settled` to be read.
    """

    tokens: Tokens
    position: Int[Tensor, "batch #kv_head place"]
    places: Places
    length: int = 0
    came: Int[Tensor, "batch #kv_head query"] | None = None
    overwritten: bool = field(default=False, init=False)
    _next: _Next | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, object]:
        """For copies: what was made of this ledger was made of it alone, and views are taken anew."""
        return {name: value for name, value in vars(self).items() if name != "stored"} | {"_next": None}

    @staticmethod
    def empty(size: Int[Tensor, "batch region"]) -> Ledger:
        """Places for regions of these sizes, nothing on them; one ledger for the very same sizes."""
        found = _EMPTY.get(size)
        # What was made in inference mode cannot be written to outside of it.
        if found is None or found.position.is_inference() != torch.is_inference_mode_enabled():
            # A copy, since what is kept as long as its key must not hold on to the key.
            own = size.clone()
            blank = torch.full((size.shape[0], 1, 1), -1, dtype=torch.int64, device=size.device)
            zero = torch.zeros_like(own)
            found = Ledger(
                tokens=Tokens(torch.zeros_like(blank), blank, blank, blank, blank),
                position=blank,
                places=Places(zero, zero, zero[:, None], zero[:, None], 0, blank[..., 0] + 1, 0),
            ).arranged(blank >= 0, own, zero, 0)[0]
            _EMPTY[size] = found
        return found

    @cached_property
    def stored(self) -> tuple[Tokens, Int[Tensor, "batch #kv_head place"]]:
        """The tokens and positions of the places in use."""
        end = self.places.end
        return self.tokens.narrow(0, end), self.position[..., :end]

    def settled(self) -> Ledger:
        """The ledger as it was, whatever was written into it for one that came after."""
        if not self.overwritten:
            return self
        return self.until(self.length, self.places)

    def enter(self, tokens: Tokens, in_place: bool) -> Ledger:
        """The ledger with these tokens behind those that are there.

        Args:
            tokens: What comes next in the sequence.
            in_place: Whether it may be written into this one.

        Raises:
            ValueError: A region gets more members than declared.
        """
        known = self._next
        if known is not None and known.in_place == in_place and known.tokens() is tokens:
            found = known.ledger()
            if found is not None:
                return found
        base = self.settled()
        places, roomy, place = base._room_for(tokens)
        position = torch.arange(self.length, self.length + tokens.length, device=place.device)
        position = torch.where(tokens.valid, position, -1)
        where = spot(place, roomy.position.shape[1])
        fields = {
            name: put(old, where, getattr(tokens, name), in_place) for name, old in vars(roomy.tokens).items()
        }
        new = Ledger(
            tokens=Tokens(**fields),
            position=put(roomy.position, where, position, in_place),
            places=places,
            length=self.length + tokens.length,
            came=place,
        )
        self._next = _Next(weakref.ref(tokens), in_place, weakref.ref(new))
        self.overwritten = self.overwritten or (in_place and roomy is self)
        return new

    def arranged(
        self,
        alive: Bool[Tensor, "batch #kv_head place"],
        size: Int[Tensor, "batch region"],
        seen: Int[Tensor, "batch region"],
        length: int,
    ) -> tuple[Ledger, Int[Tensor, "batch #kv_head place"]]:
        """What is `alive` laid out anew, for regions of these sizes of which `seen` members arrived.

        The second is the place that each place's entry comes from, -1 = there is none.
        """
        arrangement = arrange(self.tokens.owner, alive, size, seen)
        source = torch.nn.functional.pad(arrangement.source, (0, _SLACK), value=-1)
        position = self.position.expand(-1, source.shape[1], -1).gather(2, source.clamp_min(0))
        return Ledger(
            tokens=self.tokens.take(source),
            position=position.masked_fill(source < 0, -1),
            places=arrangement.places,
            length=length,
        ), source

    def until(self, length: int, places: Places) -> Ledger:
        """The first `length` tokens alone, the last ones of their regions gone; nothing moves."""
        gone = self.position >= length
        index = torch.arange(gone.shape[2], device=gone.device).masked_fill(gone, -1)
        return Ledger(
            tokens=self.tokens.take(index),
            position=self.position.masked_fill(gone, -1),
            places=places,
            length=length,
        )

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> Ledger:
        """The samples `sample`, as beam search permutes them."""
        return Ledger(
            tokens=self.tokens.reorder(sample),
            position=self.position.index_select(0, sample),
            places=self.places.reorder(sample),
            length=self.length,
        )

    def _room_for(self, tokens: Tokens) -> tuple[Places, Ledger, Int[Tensor, "batch #kv_head query"]]:
        """What is in use once the tokens are there, a ledger with room for it, and where they go.

        What lies behind the regions at least doubles where it grows.
        """
        arrival, roomy = arrive(self.places, tokens), self
        have = self.position.shape[2]
        if arrival.places.end >= have:
            more = max(arrival.places.end + 1 - have, have - self.places.room, _SLACK)
            shape = (*self.position.shape[:2], more)
            blank = torch.full(shape, -1, dtype=torch.int64, device=self.position.device)
            padding = Tokens(torch.zeros_like(blank), blank, blank, blank, blank)
            roomy = Ledger(
                tokens=concatenate([self.tokens, padding]),
                position=torch.cat([self.position, blank], dim=2),
                places=self.places,
                length=self.length,
            )
        place = torch.where(arrival.place >= 0, arrival.place, roomy.position.shape[2] - 1)
        return arrival.places, roomy, place


_EMPTY = WeakIdKeyDictionary()
