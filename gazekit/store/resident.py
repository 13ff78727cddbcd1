"""A layer's keys and values, all of them in the device's memory."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from gazekit.contracts import Entries, Look, Regions, Selection, Tokens
from gazekit.store.keeper import Keeper
from gazekit.store.memory import DeviceMemory
from gazekit.store.shelf import Shelf


class ResidentStore:
    """Keeps every region's members side by side, so that a backend can read the chosen regions alone.

    The places of a region are known from the declared layout before its members arrive, so a region that is
    fed in pieces fills up where it lies; a place that is not filled yet reads as padding. Free tokens (text,
    context, what is generated) lie behind all regions, in a part that grows by doubling. Padding is counted
    in `length` and not stored.

    Without autograd everything is written in place, and what `entries` returns is a view that holds until the
    next change. While a query, key or value requires a gradient each `add` writes a copy instead: gradients
    flow through the store to all that was added, and earlier entries stay as they were.

    Marks nest: `rollback` returns to the latest one and uses it up. It also forgets the regions declared
    since. What was permuted since stays permuted, and what an eviction dropped stays dropped.
    """

    def __init__(self) -> None:
        self._keeper = Keeper(DeviceMemory.like)
        self._handed: tuple[Shelf[DeviceMemory], Entries] | None = None

    @property
    def length(self) -> int:
        """Tokens seen, padding included; not tokens stored."""
        return self._keeper.length

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
        self._keeper.add(look, tokens, regions)

    def entries(self) -> Entries:
        """All that is stored; places that are not filled are padding, with finite keys and values.

        Raises:
            ValueError: Nothing was added yet.
        """
        shelf = self._keeper.full()
        if self._handed is None or self._handed[0] is not shelf:
            self._handed = shelf, shelf.entries(shelf.memory.key, shelf.memory.value)
        return self._handed[1]

    def outline(self) -> Entries:
        """The same: everything is at hand."""
        return self.entries()

    def fetch(self, selection: Selection | None) -> Entries:
        """The same, whatever is selected."""
        return self.entries()

    def mark(self) -> None:
        """Remembers this point, for `rollback`."""
        self._keeper.mark()

    def rollback(self) -> None:
        """Forgets what was added since the latest mark, and that mark.

        Raises:
            ValueError: There is no mark.
        """
        self._keeper.rollback()

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> None:
        """Permutes, repeats or drops samples, as beam search asks; marks go along."""
        self._keeper.reorder(sample)

    def keep(self, index: Int[Tensor, "batch #kv_head entry"]) -> None:
        """Drops all entries but those at `index` of `entries()`, as an eviction decides; -1 is ignored.

        With an index for each KV head the entries differ per head from here on, and so do `begin` and
        `count`. Members of a region that are still to come keep their places.

        Raises:
            ValueError: Nothing was added yet.
        """
        self._keeper.keep(index)


@dataclass(frozen=True, kw_only=True)
class ResidentStorage:
    """Keeps everything on the device; the default."""

    def __call__(self) -> ResidentStore:
        """An empty store."""
        return ResidentStore()
