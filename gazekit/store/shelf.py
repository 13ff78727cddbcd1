"""Keys and values in memory, with the integers that say what lies where."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts import Entries, Look, Tokens, concatenate
from gazekit.store.places import Places, arrange, arrive

_SLACK = 64


@dataclass(frozen=True)
class Shelf:
    """All that a store holds at one moment: the places in use, some to spare, one for what is not stored.

    Attributes:
        key: Zeros where nothing lies.
        value: Zeros where nothing lies.
        tokens: Padding where nothing lies.
        position: Place in the sequence, -1 where nothing lies.
        places: Which of the places belong to which region.
    """

    key: Float[Tensor, "batch kv_head place dim"]
    value: Float[Tensor, "batch kv_head place value_dim"]
    tokens: Tokens
    position: Int[Tensor, "batch #kv_head place"]
    places: Places

    def entries(self) -> Entries:
        """What is stored, as views."""
        end = self.places.end
        return Entries(
            key=self.key[:, :, :end],
            value=self.value[:, :, :end],
            tokens=self.tokens.narrow(0, end),
            position=self.position[..., :end],
            begin=self.places.begin,
            count=self.places.count,
            free=self.places.room,
        )

    def put(self, look: Look, tokens: Tokens, start: int) -> "Shelf":
        """Takes in the keys and values of a look, whose first token has the position `start`.

        Writes in place, unless autograd follows one of the tensors.
        """
        arrival = arrive(self.places, tokens)
        roomy = self._reserve(arrival.places)
        position = torch.arange(start, start + tokens.length, device=look.key.device)
        position = torch.where(tokens.valid, position, -1)
        place = torch.where(arrival.place >= 0, arrival.place, roomy.key.shape[2] - 1)
        tracked = (look.query, look.key, look.value, self.key, self.value)
        in_place = not any(tensor.requires_grad for tensor in tracked)
        here, facts = _spot(place, roomy.key.shape[1]), _spot(place, roomy.position.shape[1])
        names = [field.name for field in fields(Tokens)]
        return replace(
            roomy,
            key=_write(roomy.key, here, look.key, in_place),
            value=_write(roomy.value, here, look.value, in_place),
            tokens=Tokens(
                **{n: _write(getattr(roomy.tokens, n), facts, getattr(tokens, n), in_place) for n in names}
            ),
            position=_write(roomy.position, facts, position, in_place),
            places=arrival.places,
        )

    def arrange(
        self,
        alive: Bool[Tensor, "batch #kv_head place"],
        size: Int[Tensor, "batch region"],
        seen: Int[Tensor, "batch region"],
    ) -> "Shelf":
        """Lays what is `alive` out anew, for regions of these sizes of which `seen` members arrived."""
        arrangement = arrange(self.tokens.owner, alive, size, seen)
        source = torch.nn.functional.pad(arrangement.source, (0, _SLACK), value=-1)
        return replace(
            self,
            key=_read(self.key, source),
            value=_read(self.value, source),
            tokens=self.tokens.take(source),
            position=self.position.expand(-1, source.shape[1], -1)
            .gather(2, source.clamp_min(0))
            .masked_fill(source < 0, -1),
            places=arrangement.places,
        )

    def forget(self, length: int, seen: Int[Tensor, "batch region"], used: int) -> "Shelf":
        """Drops the entries from position `length` on, the last ones of their regions; nothing moves."""
        gone = self.position >= length
        index = torch.arange(gone.shape[2], device=gone.device).masked_fill(gone, -1)
        places = self.places
        bins = torch.where(self.tokens.owner >= 0, self.tokens.owner, seen.shape[1])
        dropped = torch.zeros(*bins.shape[:2], seen.shape[1] + 1, dtype=torch.int64, device=gone.device)
        dropped = dropped.scatter_add(2, bins, gone.expand_as(bins).long())
        return replace(
            self,
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

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> "Shelf":
        """The samples `sample`, as beam search permutes them."""
        return replace(
            self,
            key=self.key.index_select(0, sample),
            value=self.value.index_select(0, sample),
            tokens=self.tokens.reorder(sample),
            position=self.position.index_select(0, sample),
            places=self.places.reorder(sample),
        )

    def _reserve(self, places: Places) -> "Shelf":
        """Makes room for all places and one behind them; what lies behind the regions at least doubles."""
        have = self.key.shape[2]
        if places.end < have:
            return self
        more = max(places.end + 1 - have, have - places.room, _SLACK)
        blank = torch.full((*self.position.shape[:2], more), -1, dtype=torch.int64, device=self.key.device)
        return replace(
            self,
            key=torch.nn.functional.pad(self.key, (0, 0, 0, more)),
            value=torch.nn.functional.pad(self.value, (0, 0, 0, more)),
            tokens=concatenate([self.tokens, Tokens(torch.zeros_like(blank), blank, blank, blank, blank)]),
            position=torch.cat([self.position, blank], dim=2),
        )


def empty_shelf(look: Look, size: Int[Tensor, "batch region"]) -> Shelf:
    """A shelf for keys and values like the look's: places for regions of these sizes, nothing on it."""
    shape = (*look.key.shape[:2], 1)
    blank = torch.full((size.shape[0], 1, 1), -1, dtype=torch.int64, device=size.device)
    zero = torch.zeros_like(size)
    shelf = Shelf(
        key=look.key.new_zeros(*shape, look.key.shape[3]),
        value=look.value.new_zeros(*shape, look.value.shape[3]),
        tokens=Tokens(torch.zeros_like(blank), blank, blank, blank, blank),
        position=blank,
        places=Places(zero, zero, zero[:, None], zero[:, None], 0, blank[..., 0] + 1, 0),
    )
    return shelf.arrange(blank >= 0, size, zero)


def _spot(place: Int[Tensor, "batch #kv_head query"], heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """The indices of places in a buffer with that many heads."""
    batch = torch.arange(place.shape[0], device=place.device)[:, None, None]
    head = torch.arange(heads, device=place.device)[:, None]
    return batch, head, place.expand(-1, heads, -1)


def _write(buffer: Tensor, spot: tuple[Tensor, Tensor, Tensor], source: Tensor, in_place: bool) -> Tensor:
    """Puts `source [batch #kv_head query ...]` there."""
    put = buffer.index_put_ if in_place else buffer.index_put
    return put(spot, source)


def _read(
    buffer: Float[Tensor, "batch kv_head old dim"], source: Int[Tensor, "batch #kv_head new"]
) -> Float[Tensor, "batch kv_head new dim"]:
    """Takes the entries `source`; -1 gives zeros."""
    batch, head, index = _spot(source, buffer.shape[1])
    return buffer[batch, head, index.clamp_min(0)].masked_fill((index < 0)[..., None], 0)
