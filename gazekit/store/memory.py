"""Keys and values in the memory of the device, all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.contracts import Look

Place = Int[Tensor, "batch #kv_head place"]


@dataclass(frozen=True)
class DeviceMemory:
    """Keys and values side by side, in one piece each; zeros where nothing lies.

    Without autograd rows are written in place; while a query, key or value requires a gradient a copy is written
    instead, so that gradients flow to all that was written and earlier entries stay as they were.
    """

    key: Float[Tensor, "batch kv_head place dim"]
    value: Float[Tensor, "batch kv_head place value_dim"]

    @staticmethod
    def like(look: Look) -> DeviceMemory:
        """One place for keys and values like a look's."""
        blank = (*look.key.shape[:2], 1)
        return DeviceMemory(
            look.key.new_zeros(*blank, look.key.shape[3]), look.value.new_zeros(*blank, look.value.shape[3])
        )

    @property
    def tracked(self) -> bool:
        """Whether autograd follows what was written."""
        return self.key.requires_grad or self.value.requires_grad

    def write(self, place: Int[Tensor, "batch #kv_head query"], look: Look, room: int) -> DeviceMemory:
        """Puts a look's keys and values where `place` says."""
        in_place = not (self.tracked or tracked(look))
        if in_place and place.shape[0] == place.shape[1] == 1:
            # One step each, where `put` needs eight: between two products a step starts with the caches cold.
            self.key.index_copy_(2, place[0, 0], look.key)
            self.value.index_copy_(2, place[0, 0], look.value)
            return self
        here = spot(place, self.key.shape[1])
        return DeviceMemory(
            put(self.key, here, look.key, in_place), put(self.value, here, look.value, in_place)
        )

    def arrange(self, source: Place, before: int, room: int) -> DeviceMemory:
        """What lies at `source` comes to lie at each place; zeros where it is -1."""
        if self.key.shape[2] == 1:
            # The last place of all holds nothing, so there is nothing to read.
            shape = (*self.key.shape[:2], source.shape[2])
            return DeviceMemory(
                self.key.new_zeros(*shape, self.key.shape[3]),
                self.value.new_zeros(*shape, self.value.shape[3]),
            )
        return DeviceMemory(take(self.key, source), take(self.value, source))

    def grow(self, more: int) -> DeviceMemory:
        """So many more places behind all others."""
        pad = torch.nn.functional.pad
        return DeviceMemory(pad(self.key, (0, 0, 0, more)), pad(self.value, (0, 0, 0, more)))

    def forget(self) -> DeviceMemory:
        """The same: there are no copies."""
        return self

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> DeviceMemory:
        """The samples `sample`, as beam search permutes them."""
        return DeviceMemory(self.key.index_select(0, sample), self.value.index_select(0, sample))


def tracked(look: Look) -> bool:
    """Whether autograd follows a look."""
    return look.query.requires_grad or look.key.requires_grad or look.value.requires_grad


def spot(place: Int[Tensor, "batch #kv_head query"], heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """The indices of places in a buffer with that many heads."""
    batch = torch.arange(place.shape[0], device=place.device)[:, None, None]
    head = torch.arange(heads, device=place.device)[:, None]
    return batch, head, place.expand(-1, heads, -1)


def put(
    buffer: Tensor, where: tuple[Tensor, Tensor, Tensor], source: Tensor, in_place: bool = True
) -> Tensor:
    """Writes `source [batch #kv_head query ...]` there."""
    write = buffer.index_put_ if in_place else buffer.index_put
    return write(where, source)


def take(
    buffer: Float[Tensor, "batch kv_head old dim"], source: Int[Tensor, "batch #kv_head new"]
) -> Float[Tensor, "batch kv_head new dim"]:
    """Reads the rows `source`; -1 gives zeros."""
    batch, head, index = spot(source, buffer.shape[1])
    return buffer[batch, head, index.clamp_min(0)].masked_fill((index < 0)[..., None], 0)
