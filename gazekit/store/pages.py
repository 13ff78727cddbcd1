"""The members of regions, off the device: keys and values as a tier keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts import Look
from gazekit.store.memory import spot, take
from gazekit.store.tiers import Block, Tier

_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Pages:
    """Keys and values by place, each region's side by side, one place more for what nobody keeps.

    Samples that beam search repeated share their rows until one of them is written to.

    Attributes:
        key: Of each place.
        value: Aligned with `key`.
        tier: Where more can be had.
        device: Where rows come from and go to.
        sample: Whose rows each sample reads; None = its own.
    """

    key: Block
    value: Block
    tier: Tier
    device: torch.device
    sample: Int[Tensor, " batch"] | None = None

    @staticmethod
    def empty(batch: int, heads: int, dims: tuple[int, int], room: int, like: Tensor, tier: Tier) -> Pages:
        """Room for so many places, all zeros, for rows like those of `like`."""
        key, value = (tier((batch, heads, room + 1, dim), like.dtype, like.device) for dim in dims)
        return Pages(key, value, tier, like.device)

    @property
    def room(self) -> int:
        """Places."""
        return self.key.rows.shape[2] - 1

    def write(
        self,
        place: Int[Tensor, "batch #kv_head query"],
        member: Bool[Tensor, "batch #kv_head query"],
        look: Look,
    ) -> Pages:
        """Puts the members among a look's keys and values where `place` says."""
        here = self.key.rows.device
        # A device that writes by itself need not be waited for; what is no member goes to the last place.
        waits = here.type == "cpu" or self.sample is not None
        if waits and not bool(member.any()):
            return self
        owned = self._owned()
        where = torch.where(member, place, self.room).to(here)
        for block, source in ((owned.key, look.key), (owned.value, look.value)):
            block.rows.index_put_(spot(where, source.shape[1]), source.to(here))
            block.settle()
        return owned

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> Pages:
        """The samples `sample`; nothing is copied."""
        return replace(self, sample=sample if self.sample is None else self.sample.index_select(0, sample))

    def arrange(self, source: Int[Tensor, "batch #kv_head place"]) -> Pages:
        """Other pages, with what lies at `source` at each place; zeros where it is -1."""
        (_, heads, _, dim), value_dim = self.key.rows.shape, self.value.rows.shape[3]
        like = self.key.rows.new_empty(0, device=self.device)
        new = Pages.empty(source.shape[0], heads, (dim, value_dim), source.shape[2], like, self.tier)
        for old, fresh in ((self.key, new.key), (self.value, new.value)):
            for sample, start, stop in self._chunks(source.shape, old):
                some = source[sample, :, start:stop].to(old.rows.device)
                if bool((some >= 0).any()):
                    fresh.rows[sample, :, start:stop] = take(self._of(old, sample), some[None])[0]
                    old.settle()
                    fresh.settle()
        return new

    def fill(self, key: Float[Tensor, "batch kv_head place dim"], value: Tensor) -> None:
        """Writes the rows of all places to the front of tensors on the device."""
        room = self.room
        for old, fresh in ((self.key, key), (self.value, value)):
            for sample, start, stop in self._chunks((*fresh.shape[:2], room), old):
                fresh[sample, :, start:stop] = self._of(old, sample)[0, :, start:stop].to(self.device)
                old.settle()

    def bring(
        self,
        key: Float[Tensor, "batch kv_head place dim"],
        value: Float[Tensor, "batch kv_head place value_dim"],
        source: Int[Tensor, "batch kv_head page"],
        target: Int[Tensor, "batch kv_head page"],
        count: Int[Tensor, "batch kv_head page"],
        size: int,
    ) -> None:
        """Copies pages of at most `size` rows into tensors on the device.

        Args:
            key: Written to; in one piece, its last place for what nobody keeps.
            value: Likewise.
            source: First place of each page here.
            target: Its first row there; -1 = nothing to copy.
            count: Its rows.
            size: The most rows of a page.
        """
        here, there, heads = self.key.rows.shape[2], key.shape[2], target.shape[1]
        row = torch.arange(size, device=target.device)
        wanted = (target >= 0)[..., None] & (row < count[..., None])
        sample, head = (torch.arange(n, device=target.device) for n in target.shape[:2])
        of = (sample if self.sample is None else self.sample)[:, None] * heads + head
        onto = sample[:, None] * heads + head
        read = of[..., None, None] * here + torch.where(wanted, source[..., None] + row, here - 1)
        write = onto[..., None, None] * there + torch.where(wanted, target[..., None] + row, there - 1)
        if self.key.rows.device.type == "cpu":
            read, write = read[wanted].cpu(), write[wanted]
            if len(read) == 0:
                return
        # Else the device is not waited for, so as many rows are read as could be missing: one that nobody keeps for
        # each that is not.
        for block, copy in ((self.key, key), (self.value, value)):
            rows = block.rows.view(-1, copy.shape[3]).index_select(0, read.flatten())
            block.settle()
            if rows.device != self.device and self.device.type == "cuda":
                rows = rows.pin_memory().to(self.device, non_blocking=True)
            copy.view(-1, copy.shape[3]).index_copy_(0, write.flatten(), rows.to(self.device))

    def _of(self, block: Block, sample: int) -> Tensor:
        """The rows that a sample reads."""
        row = sample if self.sample is None else int(self.sample[sample])
        return block.rows[row : row + 1]

    def _owned(self) -> Pages:
        """Pages whose samples share nothing."""
        if self.sample is None:
            return self
        every = torch.arange(self.room, device=self.sample.device)
        return self.arrange(every.expand(len(self.sample), 1, -1))

    def _chunks(self, shape: tuple[int, ...], block: Block) -> Iterator[tuple[int, int, int]]:
        """A sample and a range of places at a time, so that little is at hand at once."""
        batch, _, room = shape
        per_place = block.rows.shape[1] * block.rows.shape[3] * block.rows.element_size()
        step = max(1, _CHUNK_BYTES // per_place)
        for sample in range(batch):
            for start in range(0, room, step):
                yield sample, start, min(start + step, room)
