"""What there is to attend to in one layer, brought in when it is asked for and no sooner."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from gazekit.contracts import Entries, Look, Partitioner, Selection
from gazekit.gaze.forward import Division, ForwardPass
from gazekit.gaze.memory import LayerMemory


@dataclass
class Supply:
    """The entries of one layer for one branch.

    The store lies as the first branch divides the sequence; for another division its entries have other owners, and
    regions no places of their own.

    Attributes:
        look: The layer's call.
        partition: What divides the tokens of the branch.
        division: The branch's regions.
        forward: What all layers share.
        memory: What the layer keeps; None = keys and values of the whole sequence are the look's.
        laid_out: As the branch's partition divides is the store.
    """

    look: Look
    partition: Partitioner | None
    division: Division
    forward: ForwardPass
    memory: LayerMemory | None
    laid_out: bool
    # torch.compile cannot follow functools.cached_property.
    _everything: Entries | None = field(default=None, init=False)

    @property
    def everything(self) -> Entries:
        """All entries."""
        if self._everything is None:
            self._everything = self._all()
        return self._everything

    @property
    def outline(self) -> Entries:
        """The same without bringing in what is elsewhere: what the choice of a backend is asked with."""
        if self.memory is None or not self.laid_out:
            return self.everything
        return self.memory.store.outline()

    def of(self, selection: Selection | None) -> Entries:
        """What a selection looks at, and what is free; None = all entries."""
        if selection is None or self.memory is None or not self.laid_out:
            return self.everything
        return self.memory.store.fetch(selection)

    def _all(self) -> Entries:
        if self.memory is None:
            return self._sequence()
        entries = self.memory.store.entries()
        return entries if self.laid_out else self._divided(entries)

    def _divided(self, entries: Entries) -> Entries:
        heads = entries.position.shape[1]
        owner = self.division.regions.owner[:, None].expand(-1, heads, -1)
        owner = owner.gather(2, entries.position.clamp_min(0)).masked_fill(entries.position < 0, -1)
        return replace(entries, tokens=entries.tokens.owned_by(owner), begin=None, count=None, free=None)

    def _sequence(self) -> Entries:
        """The sequence as it stands; what lies behind it is padding."""
        look, forward = self.look, self.forward
        length = look.key.shape[2]
        use = self.partition, length
        if use not in forward.sequences:
            within = torch.arange(length, device=look.key.device)
            index = torch.where(within < forward.stop, within, -1).expand(look.key.shape[0], 1, -1)
            owned = forward.layout.tokens.owned_by(self.division.regions.owner[:, None])
            forward.sequences[use] = owned.take(index), index
        tokens, index = forward.sequences[use]
        return Entries(key=look.key, value=look.value, tokens=tokens, position=index)
