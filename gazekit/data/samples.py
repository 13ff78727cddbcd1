"""Rows in their order as samples, broken ones replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from gazekit.contracts import TooLongError
from gazekit.data.batches import ConversationProcessor
from gazekit.data.conversation import Conversation
from gazekit.data.encode import EncodeConversation
from gazekit.data.mixing.filters import digest_of
from gazekit.data.mixing.mixture import Order
from gazekit.data.mixing.sources import OpenSource
from gazekit.data.quarantine import BrokenRow
from gazekit.data.records.fault import RowFault
from gazekit.data.records.open import RecordOpener
from gazekit.data.records.schema import read_record, source_of
from gazekit.data.tally import BrokenDataError

_TRIES = 100


@dataclass(frozen=True)
class Sample:
    """What stands in a place of the order.

    Attributes:
        encoded: Tensors of one conversation; None = no row that was tried is whole.
        broken: Rows that were passed over on the way.
    """

    encoded: Mapping[str, Tensor] | None
    broken: tuple[BrokenRow, ...]


@dataclass(frozen=True)
class Batch:
    """Padded tensors, and what was passed over to get them.

    Attributes:
        tensors: What a model takes; None = some place has no whole row.
        samples: Conversations in it.
        broken: Rows that were passed over.
    """

    tensors: Mapping[str, Tensor] | None
    samples: int
    broken: tuple[BrokenRow, ...]


class Samples(Dataset):
    """Conversations in their order, encoded. A sample follows from its index alone.

    A row that is broken is replaced by the next whole one of the same source, in the order of its file: the same one in
    every worker and every run.

    Args:
        sources: What is mixed.
        order: Which row comes when.
        opener: Opens images and videos.
        encode: Turns a conversation into tensors.
        length: Samples.
        start: Place in the order of the first one.
    """

    def __init__(
        self,
        *,
        sources: Sequence[OpenSource],
        order: Order,
        opener: RecordOpener,
        encode: EncodeConversation,
        length: int,
        start: int = 0,
    ) -> None:
        self.sources = tuple(sources)
        self.order = order
        self.opener = opener
        self.encode = encode
        self.length = length
        self.start = start

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} is outside a set of {self.length} samples")
        place = self.order.at(self.start + index)
        source = self.sources[place.source]
        broken: list[BrokenRow] = []
        for step in range(min(len(source), _TRIES)):
            number = source.number((place.row + step) % len(source))
            found = self._try(source, number)
            if not isinstance(found, BrokenRow):
                return Sample(found, tuple(broken))
            broken.append(found)
        return Sample(None, tuple(broken))

    def _try(self, source: OpenSource, number: int) -> Mapping[str, Tensor] | BrokenRow:
        row: Mapping[str, Any] = {}
        try:
            row = source.rows[number]
            return self._encoded(self.opener(read_record(row), source.root))
        except RowFault as fault:
            return BrokenRow(
                source=source_of(row, source.name),
                file=file_of(source),
                row=number,
                name=str(row.get("id", "")),
                kind=fault.kind,
                message=str(fault),
                digest=digest_of(row) if row else "",
            )

    def _encoded(self, talk: Conversation) -> Mapping[str, Tensor]:
        try:
            return self.encode(talk)
        except TooLongError as error:
            raise RowFault("long", str(error)) from error
        except ValueError as error:  # the processor refuses it: placeholders of its own in the text, say
            raise RowFault("type", str(error)) from error


@dataclass(frozen=True)
class CollateSamples:
    """Pads samples to a batch.

    Attributes:
        processor: The model's.
    """

    processor: ConversationProcessor

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """The samples' batch."""
        broken = tuple(row for sample in samples for row in sample.broken)
        encoded = [sample.encoded for sample in samples if sample.encoded is not None]
        if len(encoded) < len(samples):
            return Batch(None, len(encoded), broken)
        return Batch(dict(self.processor.collate(encoded)), len(samples), broken)


@dataclass(frozen=True)
class CollateTensors:
    """Pads samples to a batch of tensors, and says nothing of what was passed over.

    Attributes:
        processor: The model's.
    """

    processor: ConversationProcessor

    def __call__(self, samples: Sequence[Sample]) -> Mapping[str, Tensor]:
        """The samples' tensors.

        Raises:
            BrokenDataError: For some sample no whole row was found.
        """
        return tensors_of(CollateSamples(self.processor)(samples))


def tensors_of(batch: Batch) -> Mapping[str, Tensor]:
    """A batch's tensors.

    Raises:
        BrokenDataError: For some place of it no whole row was found.
    """
    if batch.tensors is None:
        last = batch.broken[-1]
        raise BrokenDataError(
            f"no whole row was found up to row {last.row} of {last.file} ({last.kind}: {last.message}); "
            "see `gazekit data check`"
        )
    return batch.tensors


def file_of(source: OpenSource) -> str:
    """What a source's rows are read from, as a quarantine file names it."""
    path: Path | None = getattr(source.rows, "path", None)
    return source.name if path is None else str(path)
