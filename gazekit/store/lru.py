"""Which regions are at hand, and which give way: the least recently used, for each KV head of each sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.contracts import Selection


@dataclass(frozen=True)
class Turn:
    """Where the regions that are wanted now come to lie.

    Attributes:
        slot: Of each wanted region; those from the table's capacity on do not stay.
        missed: True = wanted and not at hand before.
    """

    slot: Int[Tensor, "batch kv_head wanted"]
    missed: Bool[Tensor, "batch kv_head wanted"]


@dataclass(frozen=True)
class Table:
    """Regions at hand by slot and slots by region; written in place, without waiting for the device.

    Each axis ends with one more column, which stands for nothing and is written to instead of asking.

    Attributes:
        slot_of: Slot of each region, -1 = not at hand.
        region_of: Region in each slot, -1 = empty.
        stamp: When the region in each slot was last wanted; -1 = empty.
    """

    slot_of: Int[Tensor, "batch kv_head region_or_none"]
    region_of: Int[Tensor, "batch kv_head slot_or_none"]
    stamp: Int[Tensor, "batch kv_head slot_or_none"]

    @staticmethod
    def empty(batch: int, heads: int, num_regions: int, capacity: int, device: torch.device) -> Table:
        """A table of nothing."""
        slots = torch.full((batch, heads, capacity + 1), -1, dtype=torch.int64, device=device)
        return Table(torch.full((batch, heads, num_regions + 1), -1, device=device), slots, slots.clone())

    @property
    def capacity(self) -> int:
        """Slots."""
        return self.region_of.shape[2] - 1

    @property
    def num_regions(self) -> int:
        """Regions that it knows of."""
        return self.slot_of.shape[2] - 1

    def touch(self, wanted: Int[Tensor, "batch kv_head wanted"]) -> Turn:
        """Makes room for the regions wanted, all of them at once.

        What is at hand and wanted stays. What is missing takes, in the order given, the slots of regions that were
        not wanted for longest, of equals those of the lowest region; where there are no more such slots, it gets one
        beyond the capacity, for this once.

        Args:
            wanted: Each region once; -1 = none.
        """
        capacity, none = self.capacity, self.num_regions
        there = wanted >= 0
        region = torch.where(there, wanted, none)
        slot = self.slot_of.gather(2, region)
        hit = slot >= 0
        missed = there & ~hit
        now = self.stamp[..., :-1].amax(dim=2, keepdim=True) + 1
        self.stamp.scatter_(2, torch.where(hit, slot, capacity), now.expand_as(slot))

        idle = self.stamp[..., :-1] < now
        age = self.stamp[..., :-1] * (none + 2) + self.region_of[..., :-1] + 1
        age = age.masked_fill(~idle, torch.iinfo(torch.int64).max)
        victims = age.argsort(dim=2, stable=True)
        rank = missed.long().cumsum(dim=2) - 1
        stays = missed & (rank < idle.sum(dim=2, keepdim=True))
        target = victims.gather(2, rank.clamp(0, capacity - 1))
        beyond = (missed & ~stays).long().cumsum(dim=2) - 1 + capacity

        gone = self.region_of.gather(2, torch.where(stays, target, capacity))
        self.slot_of.scatter_(2, torch.where(stays & (gone >= 0), gone, none), -1)
        self.slot_of.scatter_(2, torch.where(stays, region, none), target)
        self.slot_of[..., -1] = -1
        into = torch.where(stays, target, capacity)
        self.region_of.scatter_(2, into, region)
        self.stamp.scatter_(2, into, now.expand_as(into))
        self.region_of[..., -1], self.stamp[..., -1] = -1, -1
        return Turn(slot=torch.where(hit, slot, torch.where(stays, target, beyond)), missed=missed)

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> Table:
        """The samples `sample`, as beam search permutes them."""
        return Table(*(field.index_select(0, sample) for field in (self.slot_of, self.region_of, self.stamp)))


def union(selection: Selection, num_kv_heads: int, num_regions: int) -> Int[Tensor, "batch kv_head wanted"]:
    """The regions that any row of any query head of a KV head chose, ascending, -1 behind them.

    As many columns as there could be, whatever was chosen, so that nothing waits for the device.
    """
    index = selection.index
    heads, rows, slots = index.shape[1:]
    chosen = selection.chosen(num_regions).any(dim=2)
    if heads > num_kv_heads:
        chosen = chosen.unflatten(1, (num_kv_heads, -1)).any(dim=2)
    most = min(num_regions, max(1, heads // num_kv_heads) * rows * slots)
    order = chosen.to(torch.int8).argsort(dim=2, descending=True, stable=True)[..., :most]
    return torch.where(chosen.gather(2, order), order, -1).expand(-1, num_kv_heads, -1)
