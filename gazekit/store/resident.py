"""A layer's keys and values, all of them in the device's memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.contracts import Entries, Look, Regions, Selection, Tokens, concatenate
from gazekit.store.places import Places, arrange, arrive

_SLACK = 64


@dataclass(frozen=True)
class _Mark:
    length: int
    size: Int[Tensor, "batch region"]
    seen: Int[Tensor, "batch region"]
    used: int
    arrangements: int


class ResidentStore:
    """Keeps every region's members side by side, so that a backend can read the chosen regions alone.

    The places of a region are known from the declared layout before its members arrive, so a region that is fed in
    pieces fills up where it lies; a place that is not filled yet reads as padding, with zeros as key and value. Free
    tokens (text, context, what is generated) lie behind all regions in a part that grows by doubling. Padding is
    counted in `length` and not stored.

    Without autograd everything is written in place, and what `entries` returns is a view that holds until the next
    change. While a key or value requires a gradient each `add` writes a copy instead: gradients flow through the
    store to all that was added, and earlier entries stay as they were.

    Marks nest: `rollback` returns to the latest one and uses it up. It also forgets the regions declared since. What
    was permuted since stays permuted, and what an eviction dropped stays dropped.
    """

    def __init__(self) -> None:
        self._length = 0
        self._places: Places | None = None
        self._marks: list[_Mark | None] = []
        self._arrangements = 0
        self._declared: Tensor | None = None

    @property
    def length(self) -> int:
        """Tokens seen, padding included; not tokens stored."""
        return self._length

    def add(self, look: Look, tokens: Tokens, regions: Regions) -> None:
        """Takes in the keys and values of a forward.

        Args:
            look: Its keys and values align with `tokens`.
            tokens: What they are and which region owns each; the head axis is 1.
            regions: The division of the whole layout as declared. A later call may declare more regions, or more
                members of one; never fewer.

        Raises:
            ValueError: `tokens` and the keys differ in number, a region was declared with more members before,
                or gets more members than declared.
        """
        if tokens.length != look.key.shape[2]:
            raise ValueError(f"tokens must describe each of the {look.key.shape[2]} keys, got {tokens.length}")
        self._declare(look, regions)
        arrival = arrive(self._places, tokens)
        tracked = [look.key, look.value, self._key, self._value]
        in_place = not any(tensor.requires_grad for tensor in tracked)
        self._reserve(arrival.places)
        place = torch.where(arrival.place >= 0, arrival.place, self._key.shape[2] - 1)
        position = torch.arange(self._length, self._length + tokens.length, device=place.device)
        position = torch.where(tokens.valid, position, -1)
        self._key = _put(self._key, place, look.key, in_place)
        self._value = _put(self._value, place, look.value, in_place)
        self._position = _put(self._position, place, position, in_place)
        self._tokens = Tokens(
            **{
                name: _put(getattr(self._tokens, name), place, getattr(tokens, name), in_place)
                for name in ("kind", "unit", "document", "order", "owner")
            }
        )
        self._places = arrival.places
        self._length += tokens.length

    def entries(self) -> Entries:
        """All that is stored, as views; places that are not filled are padding.

        Raises:
            ValueError: Nothing was added yet.
        """
        if self._places is None:
            raise ValueError("the store is empty; add the keys and values of a forward first")
        end = self._places.end
        return Entries(
            key=self._key[:, :, :end],
            value=self._value[:, :, :end],
            tokens=self._tokens.narrow(0, end),
            position=self._position[..., :end],
            begin=self._places.begin,
            count=self._places.count,
            free=self._places.room,
        )

    def fetch(self, selection: Selection | None) -> tuple[Entries, Selection | None]:
        """All that is stored and the selection as it is: everything is at hand already."""
        return self.entries(), selection

    def mark(self) -> None:
        """Remembers this point, for `rollback`; marks nest."""
        places = self._places
        if places is None:
            self._marks.append(None)
            return
        self._marks.append(_Mark(self._length, places.size, places.seen, places.used, self._arrangements))

    def rollback(self) -> None:
        """Forgets what was added since the latest mark, and that mark.

        Raises:
            ValueError: There is no mark.
        """
        if not self._marks:
            raise ValueError("rollback needs a mark, got none; call mark() before the tokens that may be forgotten")
        mark = self._marks.pop()
        if mark is None:
            marks = self._marks
            self.__init__()
            self._marks = marks
            return
        self._length = mark.length
        alive = (self._position >= 0) & (self._position < mark.length)
        if mark.arrangements != self._arrangements:
            self._arrange(alive, mark.size, mark.seen)
            return
        gone = (self._position >= mark.length).long()
        num_regions = mark.size.shape[1]
        bins = torch.where(self._tokens.owner >= 0, self._tokens.owner, num_regions)
        dropped = torch.zeros(*gone.shape[:2], num_regions + 1, dtype=torch.int64, device=gone.device)
        dropped = dropped.scatter_add(2, bins, gone)
        self._places = replace(
            self._places, seen=mark.seen, used=mark.used, count=self._places.count - dropped[..., :num_regions],
            loose=self._places.loose - dropped[..., num_regions],
        )  # fmt: skip
        index = torch.arange(alive.shape[2], device=alive.device).masked_fill(~alive, -1)
        self._tokens = self._tokens.take(index)
        self._position = self._position.masked_fill(~alive, -1)

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> None:
        """Permutes, repeats or drops samples, as beam search asks; marks go along."""
        if self._places is None:
            return
        self._key, self._value = self._key.index_select(0, sample), self._value.index_select(0, sample)
        self._tokens, self._position = self._tokens.reorder(sample), self._position.index_select(0, sample)
        self._places = self._places.reorder(sample)
        self._declared = None
        self._marks = [
            mark and replace(mark, size=mark.size.index_select(0, sample), seen=mark.seen.index_select(0, sample))
            for mark in self._marks
        ]

    def keep(self, index: Int[Tensor, "batch #kv_head entry"]) -> None:
        """Drops all entries but those at `index` of `entries()`, as an eviction decides; -1 is ignored.

        With an index for each KV head the entries differ per head from here on, and so do `begin` and `count`.
        Members of a region that are still to come keep their places.
        """
        entries = self.entries()
        heads = max(index.shape[1], entries.position.shape[1])
        alive = torch.zeros(index.shape[0], heads, entries.key.shape[2] + 1, dtype=torch.bool, device=index.device)
        index = torch.where(index >= 0, index, entries.key.shape[2]).long().expand(-1, heads, -1)
        alive = alive.scatter(2, index, True)[..., :-1] & (entries.position >= 0)
        self._arrange(alive, self._places.size, self._places.seen)

    def _declare(self, look: Look, regions: Regions) -> None:
        """Sets places aside for regions that are new."""
        if self._places is None:
            self._open(look, regions.size)
            return
        if regions.size is self._declared:
            return
        known = self._places.size
        if torch.equal(regions.size, known):
            self._declared = regions.size
            return
        more = regions.size.shape[1] - known.shape[1]
        if more < 0 or bool((regions.size[:, : known.shape[1]] < known).any()):
            raise ValueError(
                "regions must hold every region declared before with all its members, got fewer; "
                "regions may be added when the sequence grows, never changed"
            )
        self._arrange(
            self._position >= 0, regions.size, torch.nn.functional.pad(self._places.seen, (0, more))
        )
        self._declared = regions.size

    def _open(self, look: Look, size: Int[Tensor, "batch region"]) -> None:
        batch = size.shape[0]
        nothing = torch.zeros(batch, 1, 0, dtype=torch.int64, device=look.key.device)
        self._key, self._value = look.key.detach()[:, :, :0], look.value.detach()[:, :, :0]
        self._tokens = Tokens(nothing, nothing, nothing, nothing, nothing)
        self._position = nothing
        self._arrange(nothing.bool(), size, torch.zeros_like(size))
        self._declared = size

    def _arrange(self, alive: Tensor, size: Tensor, seen: Tensor) -> None:
        """Lays the entries that are alive out anew."""
        arrangement = arrange(self._tokens.owner, alive, size, seen)
        self._places = arrangement.places
        self._arrangements += 1
        source = torch.nn.functional.pad(arrangement.source, (0, _SLACK), value=-1)
        self._key, self._value = _take(self._key, source), _take(self._value, source)
        self._tokens = self._tokens.take(source)
        self._position = _take(self._position[..., None], source)[..., 0].masked_fill(source < 0, -1)

    def _reserve(self, places: Places) -> None:
        """Makes room for all places and one behind them, which takes what is not stored."""
        have = self._key.shape[2]
        if places.end < have:
            return
        more = max(places.end + 1 - have, have - places.room, _SLACK)
        self._key = torch.nn.functional.pad(self._key, (0, 0, 0, more))
        self._value = torch.nn.functional.pad(self._value, (0, 0, 0, more))
        blank = torch.full((*self._position.shape[:2], more), -1, dtype=torch.int64, device=self._key.device)
        self._tokens = concatenate([self._tokens, Tokens(torch.zeros_like(blank), blank, blank, blank, blank)])
        self._position = torch.cat([self._position, blank], dim=2)


def _put(buffer: Tensor, place: Int[Tensor, "batch #kv_head query"], source: Tensor, in_place: bool) -> Tensor:
    """Writes `source [batch #kv_head query ...]` to its places of the third axis."""
    place = place.expand(-1, buffer.shape[1], -1)
    source = source.expand(-1, buffer.shape[1], *source.shape[2:])
    batch = torch.arange(place.shape[0], device=place.device)[:, None, None]
    head = torch.arange(place.shape[1], device=place.device)[:, None]
    write = buffer.index_put_ if in_place else buffer.index_put
    return write((batch, head, place), source)


def _take(buffer: Float[Tensor, "batch kv_head entry dim"], source: Int[Tensor, "batch #kv_head place"]) -> Tensor:
    """Reads the entries `source` of the third axis; -1 gives zeros."""
    if buffer.shape[2] == 0:
        return buffer.new_zeros(*buffer.shape[:2], source.shape[2], buffer.shape[3])
    heads = max(buffer.shape[1], source.shape[1])
    index = source.expand(-1, heads, -1)
    batch = torch.arange(index.shape[0], device=index.device)[:, None, None]
    head = torch.arange(heads, device=index.device)[:, None]
    taken = buffer.expand(-1, heads, -1, -1)[batch, head, index.clamp_min(0)]
    return taken.masked_fill((index < 0)[..., None], 0)
