"""From samples of the digits set to batches of tensors, through a model's processor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from PIL import Image
from torch import Tensor

from gazekit.data.digits.datasets import DigitsSample


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


@dataclass(frozen=True)
class EncodeConversations:
    """Turns samples into a batch through a model's processor."""

    processor: ConversationProcessor

    def __call__(self, samples: Sequence[DigitsSample]) -> Mapping[str, Tensor]:
        """Encodes each sample's conversation and pads them together."""
        conversations = [sample.conversation for sample in samples]
        return self.processor.collate(
            [self.processor.encode_conversation(talk.as_chat(), list(talk.images)) for talk in conversations]
        )
