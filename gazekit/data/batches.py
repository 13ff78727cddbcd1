"""From samples of the digits set to batches of tensors, through a model's processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from gazekit.data.conversation import Conversation
from gazekit.data.packing import balance, join, pack


@runtime_checkable
class ConversationProcessor(Protocol):
    """What turns conversations into a batch: `CambrianProcessor`, or another model's.

    Attributes:
        image_processor: Turns images alone into pixel values; called as transformers' are.
    """

    image_processor: Any

    def encode_conversation(
        self, messages: list[dict[str, object]], images: list[Image.Image]
    ) -> Mapping[str, Any]:
        """Encodes one conversation: input_ids, labels, pixel_values, clip_lengths."""
        ...

    def collate(self, encoded: list[Mapping[str, Any]]) -> Mapping[str, Tensor]:
        """Pads encoded conversations to one batch."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """What a processor adds that packs: how long a conversation will be, before its images are prepared."""

    def count_tokens(self, messages: list[dict[str, object]]) -> int:
        """Tokens that `encode_conversation` makes of it, those of its images among them."""
        ...


@runtime_checkable
class HasConversation(Protocol):
    """A sample of a data set."""

    @property
    def conversation(self) -> Conversation:
        """What is learned from it."""
        ...


@dataclass(frozen=True)
class EncodeConversations:
    """Turns samples into a batch through a model's processor.

    Attributes:
        processor: The model's.
        packing: Tokens of a row that samples are packed into; None = a row for each sample.
    """

    processor: ConversationProcessor
    packing: int | None = None

    def __call__(self, samples: Sequence[HasConversation]) -> Mapping[str, Tensor]:
        """Encodes each sample's conversation and pads them together."""
        conversations = [sample.conversation for sample in samples]
        encoded = [
            self.processor.encode_conversation(talk.as_chat(), list(talk.images)) for talk in conversations
        ]
        if self.packing is not None:
            rows = pack([len(one["input_ids"]) for one in encoded], self.packing)
            encoded = [join([encoded[index] for index in row]) for row in rows]
        return self.processor.collate(encoded)


class PackedBatches(Dataset):
    """Batches by their number; the samples of a step are divided among its batches by their tokens.

    A step has the samples that it would have without packing, in whatever order the data set has them, so its loss (the
    mean over its supervised tokens) and its gradient are the same. Every batch follows from its number alone: any
    sampler, any number of workers and any resumed run see the same ones. With several devices, batch `n` of all of
    them together is number `n`, as `DistributedSampler(shuffle=False)` deals them out.

    Args:
        samples: A data set of samples with a `conversation`.
        processor: Encodes them; with `count_tokens` where a step has several batches.
        packing: Tokens of a row.
        step_size: Samples of a step, over all its batches and devices.
        parts: Batches of a step, over all devices.

    Raises:
        ValueError: A number is below 1, a step has fewer samples than batches, or the processor does not count tokens.
    """

    def __init__(
        self, samples: Any, processor: ConversationProcessor, *, packing: int, step_size: int, parts: int = 1
    ) -> None:
        if packing < 1:
            raise ValueError(f"packing must be at least 1 token a row, got {packing}; null turns it off")
        if not 1 <= parts <= step_size:
            raise ValueError(f"parts must be between 1 and the {step_size} samples of a step, got {parts}")
        if parts > 1 and not isinstance(processor, CountsTokens):
            raise ValueError(
                f"processor must have count_tokens to divide a step by tokens, which {type(processor).__name__} has "
                "not; leave packing out"
            )
        self.samples = samples
        self.encode = EncodeConversations(processor, packing)
        self.step_size = step_size
        self.parts = parts
        self._latest: tuple[int, list[HasConversation], list[list[int]]] | None = None

    def __len__(self) -> int:
        return len(self.samples) // self.step_size * self.parts

    def __getitem__(self, number: int) -> Mapping[str, Tensor]:
        if not -len(self) <= number < len(self):
            raise IndexError(f"batch {number} is outside a set of {len(self)} batches")
        step, part = divmod(number % len(self), self.parts)
        drawn, groups = self._step(step)
        return self.encode([drawn[index] for index in groups[part]])

    def _step(self, step: int) -> tuple[list[HasConversation], list[list[int]]]:
        """The samples of a step and their division; the latest is kept, since its batches come one after another."""
        if self._latest is None or self._latest[0] != step:
            wanted = range(step * self.step_size, (step + 1) * self.step_size)
            together = getattr(self.samples, "__getitems__", None)
            drawn = list(together(wanted)) if together else [self.samples[index] for index in wanted]
            groups = [list(range(self.step_size))]
            if self.parts > 1:
                groups = balance([self._count(sample) for sample in drawn], self.parts)
            self._latest = step, drawn, groups
        return self._latest[1:]

    def _count(self, sample: HasConversation) -> int:
        processor = self.encode.processor
        assert isinstance(processor, CountsTokens), "see __init__"
        return processor.count_tokens(sample.conversation.as_chat())
