"""Questions to what a model takes: batches padded on the left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import BatchFeature

from gazekit.models.answering.question import Question
from gazekit.models.pictures import open_picture
from gazekit.models.processor import CambrianProcessor
from gazekit.models.retrofit.processors import Conversations

Prompts = Callable[[Sequence[Question]], BatchFeature]


@dataclass(frozen=True)
class CambrianPrompts:
    """Batches for a Cambrian.

    Attributes:
        processor: The model's.
    """

    processor: CambrianProcessor

    def __call__(self, questions: Sequence[Question]) -> BatchFeature:
        """One batch of all questions."""
        texts = [
            self.processor.apply_chat_template(list(one.messages), add_generation_prompt=True)
            for one in questions
        ]
        shown: dict[str, Any] = {
            "images": [[open_picture(image) for image in one.images] for one in questions],
            "videos": [[list(video) for video in one.videos] for one in questions],
        }
        if shown["videos"] and any(one.videos for one in questions):
            shown["timestamps"] = [
                [time if time is None else list(time) for time in one.times] for one in questions
            ]
        return self.processor(text=texts, **{name: value for name, value in shown.items() if any(value)})


@dataclass(frozen=True)
class StockPrompts:
    """Batches for a model of transformers.

    Attributes:
        conversations: Around the model's processor.
    """

    conversations: Conversations

    def __call__(self, questions: Sequence[Question]) -> BatchFeature:
        """One batch of all questions."""
        samples = [
            self.conversations.encode_question(
                one.messages, one.images, videos=one.videos, timestamps=one.times
            )
            for one in questions
        ]
        return samples[0] if len(samples) == 1 else self.conversations.collate(samples, padding_side="left")
