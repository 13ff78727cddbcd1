"""A conversation and its keys and values in the plainest form: what every store is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts import Entries, Kind, Look, Regions, Sizes, TokenLayout, Tokens, regions_from_owner
from gazekit.testing.prompts import BLANK, Division, Document, Grid, Text, layout_of, owner_of, sample_columns


@dataclass(frozen=True)
class Conversation:
    """What was declared so far, sample by sample.

    Attributes:
        documents: Documents of each sample, generated text included.
        slots: For each sample, which of its real tokens stands in each column; -1 = padding.
        labels: For each sample, what tells the regions of its real tokens apart; None = in no region.
    """

    documents: tuple[tuple[Document, ...], ...]
    slots: tuple[tuple[int, ...], ...]
    labels: tuple[tuple[object, ...], ...]

    @property
    def length(self) -> int:
        """Columns declared, padding included."""
        return len(self.slots[0])

    def turn(self, pieces: Sequence[Document], division: Division, pad_left: bool) -> "Conversation":
        """The conversation with these pieces behind each sample's last document."""
        documents = tuple(
            (*before[:-1], (*before[-1], *more)) if before else (more,)
            for before, more in zip(self.documents, pieces, strict=True)
        )
        columns = [sample_columns(sample) for sample in documents]
        whole = layout_of(columns)
        fresh = [range(len(old), len(new)) for old, new in zip(self.labels, columns, strict=True)]
        longest = max(map(len, fresh))
        slots, labels = [], []
        for b, new in enumerate(fresh):
            padding = [-1] * (longest - len(new))
            slots.append((*self.slots[b], *padding, *new) if pad_left else (*self.slots[b], *new, *padding))
            labels.append((*self.labels[b], *division.labels(whole, b)[new.start : new.stop]))
        return Conversation(documents, tuple(slots), tuple(labels))

    @cached_property
    def layout(self) -> TokenLayout:
        """The layout of all that was declared."""
        columns = [sample_columns(sample) for sample in self.documents]
        return layout_of(
            [
                [sample[i] if i >= 0 else BLANK for i in slots]
                for sample, slots in zip(columns, self.slots, strict=True)
            ]
        )

    @cached_property
    def regions(self) -> Regions:
        """The division of all that was declared."""
        labels = [
            [known[i] if i >= 0 else None for i in slots]
            for known, slots in zip(self.labels, self.slots, strict=True)
        ]
        return regions_from_owner(owner_of(labels), self.layout)

    def reorder(self, sample: Sequence[int]) -> "Conversation":
        """The samples `sample`."""
        pick = lambda fields: tuple(fields[i] for i in sample)  # noqa: E731
        return Conversation(pick(self.documents), pick(self.slots), pick(self.labels))


@dataclass
class PlainStore:
    """All keys and values in the order of the sequence, and a bool for each that says whether it stays.

    Attributes:
        sizes: Heads and widths.
        batch: Samples at the start.
        conversation: What was declared.
        key: Of every token seen.
        value: Of every token seen.
        alive: True = stored, False = evicted or padding.
    """

    sizes: Sizes
    batch: int
    conversation: Conversation = field(init=False)
    key: Float[Tensor, "batch kv_head token dim"] = field(init=False)
    value: Float[Tensor, "batch kv_head token dim"] = field(init=False)
    alive: Bool[Tensor, "batch kv_head token"] = field(init=False)
    _marks: list[tuple[int, Conversation]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        nothing = tuple(() for _ in range(self.batch))
        self.conversation = Conversation(nothing, nothing, nothing)
        self.key = torch.zeros(self.batch, self.sizes.num_kv_heads, 0, self.sizes.head_dim)
        self.value = self.key.clone()
        self.alive = torch.zeros(self.key.shape[:3], dtype=torch.bool)

    @property
    def length(self) -> int:
        """Tokens seen, padding included."""
        return self.key.shape[2]

    @property
    def marked(self) -> bool:
        """There is a mark to return to."""
        return bool(self._marks)

    def tokens(self) -> Tokens:
        """What every token seen is, with the region that owns it."""
        owner = self.conversation.regions.owner[:, None]
        return self.conversation.layout.tokens.owned_by(owner).narrow(0, self.length)

    def add(self, look: Look) -> None:
        """Takes in the next tokens that were declared."""
        start = self.length
        self.key = torch.cat([self.key, look.key], dim=2)
        self.value = torch.cat([self.value, look.value], dim=2)
        valid = self.tokens().valid[..., start:].expand(-1, self.key.shape[1], -1)
        self.alive = torch.cat([self.alive, valid], dim=2)

    def entries(self) -> Entries:
        """All that is stored, what was evicted marked as padding."""
        tokens = self.tokens()
        kind = torch.where(self.alive, tokens.kind, Kind.PAD)
        heads = kind.shape[1]
        wide = Tokens(
            kind,
            *(f.expand(-1, heads, -1) for f in (tokens.unit, tokens.document, tokens.order, tokens.owner)),
        )
        position = torch.where(self.alive, torch.arange(self.length), -1)
        return Entries(key=self.key, value=self.value, tokens=wide, position=position)

    def keep(self, stays: Bool[Tensor, "batch #kv_head token"]) -> None:
        """Evicts what does not stay."""
        self.alive = self.alive & stays

    def mark(self) -> None:
        """Remembers this point."""
        self._marks.append((self.length, self.conversation))

    def rollback(self) -> None:
        """Forgets what was added since the latest mark; evictions stay."""
        length, self.conversation = self._marks.pop()
        self.key, self.value = self.key[:, :, :length], self.value[:, :, :length]
        self.alive = self.alive[..., :length]

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> None:
        """Permutes samples, and what the marks remember."""
        self.key, self.value, self.alive = self.key[sample], self.value[sample], self.alive[sample]
        order = sample.tolist()
        self.conversation = self.conversation.reorder(order)
        self._marks = [(length, known.reorder(order)) for length, known in self._marks]
        self.batch = len(order)

    def generate(self) -> None:
        """Declares one more text token for each sample."""
        self.turn([(Text(1),)] * self.batch, Grid(size=(1, 1, 1)), pad_left=True)

    def turn(self, pieces: Sequence[Document], division: Division, pad_left: bool) -> None:
        """Declares what follows in each sample."""
        self.conversation = self.conversation.turn(pieces, division, pad_left)
