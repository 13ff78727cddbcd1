"""Keys and values in two places: regions in pages off the device, free tokens and a hot buffer of pages on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from gazekit.contracts import Entries, Look, Tokens, concatenate
from gazekit.store.lru import Table, Turn
from gazekit.store.memory import put, spot, take, tracked
from gazekit.store.pages import Pages
from gazekit.store.places import Places
from gazekit.store.tiers import Tier


@dataclass(frozen=True)
class Traffic:
    """What was asked of the pages so far, by sample and KV head.

    Attributes:
        hits: Regions that were at hand.
        misses: Regions that were brought in.
        rows: Entries brought in; each is a key and a value.
    """

    hits: Int[Tensor, "batch kv_head"]
    misses: Int[Tensor, "batch kv_head"]
    rows: Int[Tensor, "batch kv_head"]

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> Traffic:
        """The samples `sample`."""
        return Traffic(*(count.index_select(0, sample) for count in (self.hits, self.misses, self.rows)))


@dataclass(frozen=True)
class SplitMemory:
    """Places of regions in pages, all else on the device; of the regions the latest wanted are there as well.

    Attributes:
        pages: The members of regions; None = there are no regions.
        key: The hot buffer, a slot after another, and behind it the keys of free places.
        value: Aligned with `key`.
        tier: Where pages lie.
        traffic: What was asked of them.
        page: Rows of a slot.
        table: What lies in the slots; None = there are none.
    """

    pages: Pages | None
    key: Float[Tensor, "batch kv_head row dim"]
    value: Float[Tensor, "batch kv_head row value_dim"]
    tier: Tier = field(repr=False)
    traffic: Traffic
    page: int = 0
    table: Table | None = None

    tracked = False

    @staticmethod
    def like(look: Look, tier: Tier) -> SplitMemory:
        """One free place for keys and values like a look's."""
        _refuse_gradients(look)
        blank = (*look.key.shape[:2], 1)
        zero = torch.zeros(look.key.shape[:2], dtype=torch.int64, device=look.key.device)
        return SplitMemory(
            None, look.key.new_zeros(*blank, look.key.shape[3]), look.value.new_zeros(*blank, look.value.shape[3]),
            tier, Traffic(zero, zero.clone(), zero.clone()),
        )  # fmt: skip

    @property
    def hot(self) -> int:
        """Rows of the hot buffer."""
        return 0 if self.table is None else self.table.capacity * self.page

    def write(self, place: Int[Tensor, "batch #kv_head query"], look: Look, room: int) -> SplitMemory:
        """Puts members into the pages and all else behind the hot buffer.

        Raises:
            ValueError: A gradient is asked for.
        """
        _refuse_gradients(look)
        member = place < room
        pages = None if self.pages is None else self.pages.write(place, member, look)
        row = torch.where(member, self.key.shape[2] - 1, place - room + self.hot)
        here = spot(row, self.key.shape[1])
        put(self.key, here, look.key)
        put(self.value, here, look.value)
        return replace(self, pages=pages)

    def arrange(self, source: Int[Tensor, "batch #kv_head place"], before: int, room: int) -> SplitMemory:
        """What lies at `source` comes to lie at each place; the hot buffer is empty then."""
        cold = self.forget()
        among, behind = source[..., :room], source[..., room:]
        free = torch.where(behind >= 0, behind - before, -1)
        pages = None
        if room and self.pages is not None:
            pages = self.pages.arrange(among)
        elif room:
            batch, heads = self.key.shape[:2]
            dims = (self.key.shape[3], self.value.shape[3])
            pages = Pages.empty(batch, heads, dims, room, self.key, self.tier)
        return replace(cold, pages=pages, key=take(cold.key, free), value=take(cold.value, free))

    def grow(self, more: int) -> SplitMemory:
        """So many more places behind all others."""
        return replace(self, key=pad(self.key, (0, 0, 0, more)), value=pad(self.value, (0, 0, 0, more)))

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> SplitMemory:
        """The samples `sample`; their pages are not copied."""
        return replace(
            self,
            pages=self.pages and self.pages.reorder(sample),
            key=self.key.index_select(0, sample),
            value=self.value.index_select(0, sample),
            traffic=self.traffic.reorder(sample),
            table=self.table and self.table.reorder(sample),
        )

    def forget(self) -> SplitMemory:
        """Without a hot buffer: what lies in the pages may be written anew."""
        return replace(self, key=self.key[:, :, self.hot :], value=self.value[:, :, self.hot :], table=None)

    def whole(self) -> tuple[Tensor, Tensor]:
        """All keys and all values on the device, by place."""
        cold = self.forget()
        if self.pages is None:
            return cold.key, cold.value
        room = self.pages.room
        key, value = (
            field.new_empty(*field.shape[:2], room + field.shape[2], field.shape[3])
            for field in (cold.key, cold.value)
        )
        self.pages.fill(key, value)
        key[:, :, room:], value[:, :, room:] = cold.key, cold.value
        return key, value

    def with_slots(self, capacity: int, page: int, num_regions: int) -> SplitMemory:
        """With a hot buffer of at least so many slots; the one that is there where it will do."""
        table = self.table
        if table is not None and table.capacity >= capacity and table.num_regions == num_regions:
            return self
        cold, (batch, heads) = self.forget(), self.key.shape[:2]
        return replace(
            cold,
            key=pad(cold.key, (0, 0, capacity * page, 0)),
            value=pad(cold.value, (0, 0, capacity * page, 0)),
            page=page,
            table=Table.empty(batch, heads, num_regions, capacity, self.key.device),
        )

    def bring(
        self,
        wanted: Int[Tensor, "batch kv_head wanted"],
        places: Places,
        tokens: Tokens,
        position: Int[Tensor, "batch #kv_head place"],
    ) -> Entries:
        """Entries with the wanted regions among them; those that were missing are copied in.

        Args:
            wanted: Regions, -1 = none.
            places: What lies where.
            tokens: By place.
            position: By place.
        """
        assert self.table is not None, "see with_slots"
        assert self.pages is not None, "there are regions"
        begin, count = (at.expand(*wanted.shape[:2], -1) for at in (places.begin, places.count))
        turn = self.table.touch(wanted)
        safe = wanted.clamp_min(0)
        source, rows = begin.gather(2, safe), count.gather(2, safe)
        self._count(turn, wanted, rows)
        capacity = self.table.capacity
        key, value, slots = self.key, self.value, capacity
        stays = turn.slot < capacity
        first = turn.slot * self.page
        self.pages.bring(key, value, source, torch.where(turn.missed & stays, first, -1), rows, self.page)
        beyond = max(0, wanted.shape[2] - capacity)
        if beyond:
            # More than the buffer holds: the rest is at hand for this once, between the buffer and the free entries.
            key, value = (_widened(at, self.hot, beyond * self.page) for at in (key, value))
            self.pages.bring(
                key, value, source, torch.where(turn.missed & ~stays, first, -1), rows, self.page
            )
            slots += beyond
        return self._entries(key, value, wanted, turn, slots, places, tokens, position)

    def _entries(
        self,
        key: Tensor,
        value: Tensor,
        wanted: Tensor,
        turn: Turn,
        slots: int,
        places: Places,
        tokens: Tokens,
        position: Tensor,
    ) -> Entries:
        """What lies in the slots and behind them, said in places of its own."""
        assert self.table is not None, "see with_slots"
        batch, heads = wanted.shape[:2]
        there = wanted >= 0
        begin, count = (at.expand(batch, heads, -1) for at in (places.begin, places.count))
        slot_of = self.table.slot_of.scatter(2, torch.where(there, wanted, self.table.num_regions), turn.slot)
        region_of = pad(self.table.region_of[..., :-1], (0, slots - self.table.capacity + 1), value=-1)
        region_of = region_of.scatter(2, torch.where(there, turn.slot, slots), wanted)[..., :-1]
        slot_of = slot_of[..., :-1]

        region, row = region_of.clamp_min(0), torch.arange(self.page, device=key.device)
        filled = (region_of >= 0)[..., None] & (row < count.gather(2, region)[..., None])
        place = torch.where(filled, begin.gather(2, region)[..., None] + row, -1).flatten(2)
        end, room, hot = places.end, places.room, slots * self.page
        where = position.expand(-1, heads, -1)
        return Entries(
            key=key[:, :, : hot + end - room],
            value=value[:, :, : hot + end - room],
            tokens=concatenate([tokens.take(place), tokens.narrow(room, end)]),
            position=torch.cat(
                [where.gather(2, place.clamp_min(0)).masked_fill(place < 0, -1), where[..., room:end]], dim=2
            ),
            begin=slot_of.clamp_min(0) * self.page,
            count=torch.where(slot_of >= 0, count, 0),
            free=hot,
            stored=end,
        )

    def _count(self, turn: Turn, wanted: Tensor, rows: Tensor) -> None:
        missed = turn.missed.sum(dim=2)
        self.traffic.misses.add_(missed)
        self.traffic.hits.add_((wanted >= 0).sum(dim=2) - missed)
        self.traffic.rows.add_((rows * turn.missed).sum(dim=2))


def _widened(field: Tensor, at: int, more: int) -> Tensor:
    """So many more rows at a place."""
    blank = field.new_zeros(*field.shape[:2], more, field.shape[3])
    return torch.cat([field[:, :, :at], blank, field[:, :, at:]], dim=2)


def _refuse_gradients(look: Look) -> None:
    if tracked(look):
        raise ValueError(
            "an offloaded store keeps no gradients, got keys and values that require them; call the model under "
            "torch.no_grad(), or use store: resident"
        )
