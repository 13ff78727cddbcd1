"""A layer's keys and values with the regions off the device: for more of them than it has memory for."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from gazekit.contracts import Entries, Look, Regions, Selection, Tokens
from gazekit.store.keeper import Keeper
from gazekit.store.lru import union
from gazekit.store.split import SplitMemory, Traffic
from gazekit.store.tiers import FileTier, HostTier, Tier

_log = logging.getLogger(__name__)


class OffloadedStore:
    """Keeps the members of regions off the device, and a hot buffer of the regions that were wanted latest on it.

    Free tokens (text, context) and the integers that say what lies where stay on the device. `fetch` brings in what a
    selection misses, each region into the slot of the one that was not wanted for longest; sample by sample and KV head
    by KV head, since each chooses for itself. Whatever lies in which slot, a backend that reads regions where they
    begin reads them in the order of their ids, so that its answer is that over a `ResidentStore`, bit for bit.

    A selection larger than the buffer is at hand whole for the one call, and of it as much stays as there are slots.
    `fetch(None)` and `entries()` bring everything, for the one call.

    It keeps no gradients. Samples that beam search repeats share their pages.

    Args:
        tier: Where the members of regions lie.
        slots: Regions in the hot buffer of each KV head, as a multiple of those that one row of one head looks at.

    Raises:
        ValueError: `slots` is below 1.
    """

    def __init__(self, tier: Tier, *, slots: float = 1.25) -> None:
        if not slots >= 1:
            raise ValueError(
                f"slots must be at least 1, got {slots}: the buffer must hold what a head looks at; 1.25 keeps more"
            )
        self.slots = slots
        self._keeper = Keeper(lambda look: SplitMemory.like(look, tier))
        self._page: tuple[Tensor, int] | None = None

    @property
    def length(self) -> int:
        """Tokens seen, padding included; not tokens stored."""
        return self._keeper.length

    @property
    def traffic(self) -> Traffic:
        """What was asked of the pages so far; the same tensors at every call, which count on.

        Raises:
            ValueError: Nothing was added yet.
        """
        return self._keeper.full().memory.traffic

    def resident_bytes(self) -> dict[str, int]:
        """Bytes on the device by what they are for: `hot` (the buffer), `free` (places of no region), `integers`.

        Raises:
            ValueError: Nothing was added yet.
        """
        shelf = self._keeper.full()
        memory, places = shelf.memory, shelf.places
        rows = memory.key.shape[0] * memory.key.shape[1] * sum(
            field.shape[3] * field.element_size() for field in (memory.key, memory.value)
        )  # fmt: skip
        tables = [] if memory.table is None else list(vars(memory.table).values())
        integers = [*vars(shelf.tokens).values(), shelf.position, *tables]
        integers += [field for field in vars(places).values() if isinstance(field, Tensor)]
        return {
            "hot": rows * memory.hot,
            "free": rows * (memory.key.shape[2] - memory.hot),
            "integers": sum(field.numel() * field.element_size() for field in integers),
        }

    def add(self, look: Look, tokens: Tokens, regions: Regions) -> None:
        """Takes in the keys and values of a forward, as `ResidentStore.add` does.

        Raises:
            ValueError: What `ResidentStore.add` refuses, or a key that requires a gradient.
            OSError: There is no room for the regions.
        """
        self._keeper.add(look, tokens, regions)

    def entries(self) -> Entries:
        """All that is stored, brought in; not kept.

        Raises:
            ValueError: Nothing was added yet.
        """
        shelf = self._keeper.full()
        return shelf.entries(*shelf.memory.whole())

    def outline(self) -> Entries:
        """All that is stored, but for keys and values: they read as NaN."""
        shelf = self._keeper.full()
        places = shelf.position.shape[2]
        key, value = (
            field.new_full((), math.nan).expand(*field.shape[:2], places, field.shape[3])
            for field in (shelf.memory.key, shelf.memory.value)
        )
        return shelf.entries(key, value)

    def fetch(self, selection: Selection | None) -> Entries:
        """What a selection looks at, in the hot buffer, and all free entries; None = everything.

        The entries are views and hold until the next change or fetch.

        Raises:
            ValueError: Nothing was added yet.
        """
        shelf = self._keeper.full()
        memory, places = shelf.memory, shelf.places
        num_regions = places.size.shape[1]
        if selection is None or memory.pages is None or selection.index.shape[3] == 0:
            return self.entries()
        capacity = min(num_regions, math.ceil(self.slots * selection.index.shape[3]))
        memory = memory.with_slots(capacity, self._largest(places.size), num_regions)
        if memory is not shelf.memory:
            self._keeper.hold(memory)
            _log.info("keeps %d of %d regions of each KV head at hand", capacity, num_regions)
        wanted = union(selection, memory.key.shape[1], num_regions)
        found = memory.bring(wanted, places, shelf.tokens, shelf.position)
        if _log.isEnabledFor(logging.DEBUG):
            hits, misses = int(memory.traffic.hits.sum()), int(memory.traffic.misses.sum())
            _log.debug("hit rate %.3f so far, %d regions brought in", hits / max(1, hits + misses), misses)
        return found

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

        Raises:
            ValueError: Nothing was added yet.
        """
        self._keeper.keep(index)

    def _largest(self, size: Int[Tensor, "batch region"]) -> int:
        """Members of the largest region; asked of the device once for each declaration."""
        if self._page is None or self._page[0] is not size:
            self._page = (size, int(size.max()))
        return self._page[1]


@dataclass(frozen=True, kw_only=True)
class OffloadedStorage:
    """Keeps the members of regions in the host's memory (pinned where the device is a CUDA one).

    For more visual tokens than the device has memory for: it is a gain in room, not in speed.

    Args:
        slots: Regions in the hot buffer of each KV head, as a multiple of those that one head looks at.

    Raises:
        ValueError: `slots` is below 1.
    """

    slots: float = 1.25

    def __post_init__(self) -> None:
        self()

    def __call__(self) -> OffloadedStore:
        """An empty store."""
        return OffloadedStore(HostTier(), slots=self.slots)


@dataclass(frozen=True, kw_only=True)
class MemoryMappedStorage:
    """Keeps the members of regions in a file without a name, which goes with the store.

    For more visual tokens than the host has memory for. The disk decides how fast it is.

    Args:
        slots: Regions in the hot buffer of each KV head, as a multiple of those that one head looks at.
        folder: Where the file lies; None = the system's folder for temporary files, which on some systems is memory.

    Raises:
        ValueError: `slots` is below 1.
    """

    slots: float = 1.25
    folder: str | None = None

    def __post_init__(self) -> None:
        self()

    def __call__(self) -> OffloadedStore:
        """An empty store."""
        return OffloadedStore(FileTier(folder=self.folder), slots=self.slots)
