"""What every store does alike, wherever its keys and values lie: takes in, marks, rolls back, permutes, evicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic

import torch
from jaxtyping import Int
from torch import Tensor

from gazekit.contracts import Look, Regions, Tokens
from gazekit.store.shelf import M, Shelf, first_shelf


@dataclass(frozen=True)
class _Mark:
    """A point to return to; `moves` tells whether entries were laid out anew since."""

    length: int
    size: Int[Tensor, "batch region"]
    seen: Int[Tensor, "batch region"]
    used: int
    moves: int

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> "_Mark":
        return replace(self, size=self.size.index_select(0, sample), seen=self.seen.index_select(0, sample))


class Keeper(Generic[M]):
    """A shelf over time.

    The places of a region are known from the declared layout before its members arrive, so a region that is
    fed in pieces fills up where it lies; a place that is not filled yet reads as padding. Free tokens (text,
    context, what is generated) lie behind all regions, in a part that grows by doubling. Padding is counted
    in `length` and not stored.

    Marks nest: `rollback` returns to the latest one and uses it up. It also forgets the regions declared
    since. What was permuted since stays permuted, and what an eviction dropped stays dropped.

    Args:
        memory: Makes a memory of one place for keys and values like a look's.

    Attributes:
        shelf: What is stored; None = nothing was added.
    """

    def __init__(self, memory: Callable[[Look], M]) -> None:
        self.shelf: Shelf[M] | None = None
        self._memory = memory
        self._marks: list[_Mark | None] = []
        self._moves = 0
        self._declared: Tensor | None = None

    @property
    def length(self) -> int:
        """Tokens seen, padding included; not tokens stored."""
        return 0 if self.shelf is None else self.shelf.ledger.length

    def add(self, look: Look, tokens: Tokens, regions: Regions) -> None:
        """Takes in the keys and values of a forward.

        Args:
            look: Its keys and values align with `tokens`.
            tokens: What they are and which region owns each; the head axis is 1.
            regions: The division of the whole layout as declared. A later call may declare more regions, or
                more members of one; never fewer.

        Raises:
            ValueError: `tokens` and the keys differ in number, a region was declared with more members
                before, or gets more members than declared.
        """
        if tokens.length != look.key.shape[2]:
            raise ValueError(
                f"tokens must describe each of the {look.key.shape[2]} keys of the look, got {tokens.length}"
            )
        if self.shelf is None:
            self.shelf = first_shelf(self._memory(look), look, tokens, regions.size)
        else:
            self.shelf = self._declare(self.shelf, regions.size).put(look, tokens)
        self._declared = regions.size

    def mark(self) -> None:
        """Remembers this point, for `rollback`."""
        if self.shelf is None:
            self._marks.append(None)
            return
        places = self.shelf.places
        self._marks.append(_Mark(self.length, places.size, places.seen, places.used, self._moves))

    def rollback(self) -> None:
        """Forgets what was added since the latest mark, and that mark.

        Raises:
            ValueError: There is no mark.
        """
        if not self._marks:
            raise ValueError(
                "rollback needs a mark, got none; call mark() before adding what may be forgotten"
            )
        mark = self._marks.pop()
        if mark is None:
            self.shelf, self._declared = None, None
            return
        shelf = self.full()
        if mark.moves == self._moves:
            self.shelf = shelf.forget(mark.length, mark.seen, mark.used)
            return
        alive = (shelf.position >= 0) & (shelf.position < mark.length)
        self._move(alive, mark.size, mark.seen, mark.length)

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> None:
        """Permutes, repeats or drops samples, as beam search asks; marks go along."""
        if self.shelf is None:
            return
        self.shelf = self.full().reorder(sample)
        self._marks = [mark and mark.reorder(sample) for mark in self._marks]
        self._declared = None

    def keep(self, index: Int[Tensor, "batch #kv_head entry"]) -> None:
        """Drops all entries but those at `index` of `entries()`, as an eviction decides; -1 is ignored.

        With an index for each KV head the entries differ per head from here on, and so do `begin` and
        `count`. Members of a region that are still to come keep their places.

        Raises:
            ValueError: Nothing was added yet.
        """
        shelf = self.full()
        heads, last = max(index.shape[1], shelf.position.shape[1]), shelf.position.shape[2] - 1
        where = torch.where(index >= 0, index, last).long().expand(-1, heads, -1)
        wanted = torch.zeros(where.shape[0], heads, last + 1, dtype=torch.bool, device=where.device)
        alive = wanted.scatter(2, where, True) & (shelf.position >= 0)
        self._move(alive, shelf.places.size, shelf.places.seen, self.length)

    def hold(self, memory: M) -> None:
        """Puts the same keys and values into another memory."""
        self.shelf = replace(self.full(), memory=memory)

    def full(self) -> Shelf[M]:
        """What is stored.

        Raises:
            ValueError: Nothing was added yet.
        """
        if self.shelf is None:
            raise ValueError("the store is empty; add the keys and values of a forward first")
        if self.shelf.ledger.overwritten:
            self.shelf = replace(self.shelf, ledger=self.shelf.ledger.settled())
        return self.shelf

    def _declare(self, shelf: Shelf[M], size: Int[Tensor, "batch region"]) -> Shelf[M]:
        """The shelf with places for all regions; the very same tensor of sizes is not compared again."""
        if size is self._declared:
            return shelf
        known, seen = shelf.places.size, shelf.places.seen
        wide = max(size.shape[1], known.shape[1])
        before, now = (torch.nn.functional.pad(s, (0, wide - s.shape[1])) for s in (known, size))
        if bool((now < before).any()):
            raise ValueError(
                "regions must hold every region declared before with all its members, got fewer; "
                "regions may be added when the sequence grows, never changed"
            )
        if torch.equal(size, known):
            return shelf
        seen = torch.nn.functional.pad(seen, (0, wide - seen.shape[1]))[:, : size.shape[1]]
        return self._move(self.full().position >= 0, size, seen, self.length)

    def _move(self, alive: Tensor, size: Tensor, seen: Tensor, length: int) -> Shelf[M]:
        self.shelf = self.full().arrange(alive, size, seen, length)
        self._moves += 1
        self._declared = None
        return self.shelf
