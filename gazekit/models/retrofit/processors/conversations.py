"""Conversations to learn from, through the chat template and the processor of someone else's model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import BatchFeature, ProcessorMixin

from gazekit.models.pictures import ImageLike, open_picture
from gazekit.models.retrofit.processors.films import films_of

IGNORED = -100
_PER_TOKEN = ("input_ids", "attention_mask", "labels", "mm_token_type_ids", "token_type_ids")


class Conversations:
    """A stock processor that also prepares conversations for training, as data modules ask for.

    Args:
        processor: Of the model, with a chat template and a tokenizer that knows where its tokens lie in a text.

    Attributes:
        processor: The same.

    Raises:
        ValueError: The processor has no chat template, or its tokenizer cannot tell where tokens lie.
    """

    def __init__(self, processor: ProcessorMixin) -> None:
        if not processor.chat_template:
            raise ValueError(
                f"processor must have a chat template, {type(processor).__name__} has none; set processor.chat_template"
            )
        if not getattr(processor.tokenizer, "is_fast", False):
            raise ValueError(
                "processor must have a tokenizer that tells where its tokens lie, "
                f"{type(processor.tokenizer).__name__} cannot; load a fast one"
            )
        self.processor = processor

    @property
    def image_processor(self) -> Any:
        """Turns images alone into pixels."""
        return self.processor.image_processor

    @property
    def tokenizer(self) -> Any:
        """The processor's."""
        return self.processor.tokenizer

    def encode_conversation(
        self, messages: Sequence[Mapping[str, Any]], images: Sequence[ImageLike] | None = None
    ) -> dict[str, Tensor]:
        """One conversation; labels are on what the assistant says and on the end of its turns.

        Args:
            messages: `{"role": ..., "content": ...}`, as the chat template takes them.
            images: Images in order.

        Returns:
            What the processor makes of it, a batch of one, with `labels`.

        Raises:
            ValueError: Nothing is the assistant's, or the template writes a turn differently once others follow.
        """
        text, spans = self._answers([dict(message) for message in messages])
        pictures = [open_picture(image) for image in images or []]
        encoded = self.processor(
            text=[text],
            images=[pictures] if pictures else None,
            return_offsets_mapping=True,
            return_text_replacement_offsets=True,
            return_tensors="pt",
            add_special_tokens=not self._begins(text),
        )
        shifts = encoded.pop("text_replacement_offsets")[0]
        begin, end = encoded.pop("offset_mapping")[0].unbind(-1)
        said = torch.zeros_like(begin, dtype=torch.bool)
        for start, stop in spans:
            said |= (begin >= _moved(start, shifts)) & (end <= _moved(stop, shifts)) & (end > begin)
        labels = encoded["input_ids"].masked_fill(~said, IGNORED)
        tensors = {name: value for name, value in encoded.items() if isinstance(value, Tensor)}
        return {**tensors, "labels": labels}

    def encode_question(
        self,
        messages: Sequence[Mapping[str, Any]],
        images: Sequence[ImageLike] | None = None,
        videos: Sequence[Sequence[ImageLike]] | None = None,
        timestamps: Sequence[Sequence[float] | None] | None = None,
    ) -> BatchFeature:
        """One conversation for the assistant to go on with, a batch of one.

        Args:
            messages: As for `encode_conversation`; the last is not the assistant's.
            images: Images in order.
            videos: The frames of each video, in order; all of them are shown.
            timestamps: Seconds of each frame of each video; None = a frame a second. What is made of them is the
                processor's: text before each frame, positions, or nothing.

        Raises:
            ValueError: The processor takes no videos, or a video has other times than frames.
        """
        text = self._written(messages, asks=True)
        pictures = [open_picture(image) for image in images or []]
        encoded = self.processor(
            text=[text],
            images=[pictures] if pictures else None,
            return_tensors="pt",
            add_special_tokens=not self._begins(text),
            **(films_of(self.processor, videos, timestamps or ()) if videos else {}),
        )
        return BatchFeature({name: value for name, value in encoded.items() if isinstance(value, Tensor)})

    def collate(self, samples: Sequence[Mapping[str, Tensor]], padding_side: str = "right") -> BatchFeature:
        """Pads encoded samples to a batch; what belongs to images follows in their order, padded with zeros."""
        if padding_side not in ("left", "right"):
            raise ValueError(f"padding_side must be 'left' or 'right', got {padding_side!r}")
        longest = max(sample["input_ids"].shape[1] for sample in samples)
        fills = {"input_ids": self.tokenizer.pad_token_id or 0, "labels": IGNORED}
        batch: dict[str, Tensor] = {}
        for name in dict.fromkeys(name for sample in samples for name in sample):
            values = [sample[name] for sample in samples if name in sample]
            if name in _PER_TOKEN:
                more = [longest - value.shape[1] for value in values]
                sides = [(extra, 0) if padding_side == "left" else (0, extra) for extra in more]
                fill = fills.get(name, 0)
                values = [pad(value, side, value=fill) for value, side in zip(values, sides, strict=True)]
            batch[name] = torch.cat(_level(values))
        return BatchFeature(batch)

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Saves the stock processor."""
        self.processor.save_pretrained(folder)

    def _begins(self, text: str) -> bool:
        """Whether the template has written what the tokenizer would put before a text."""
        first = self.tokenizer.bos_token
        return first is not None and text.startswith(first)

    def _answers(self, messages: Sequence[Mapping[str, Any]]) -> tuple[str, list[tuple[int, int]]]:
        """The conversation as text, and where in it the assistant speaks."""
        text = self._written(messages)
        spans = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._written(messages[:index], asks=True)
            until = self._written(messages[: index + 1])
            if not (text.startswith(until.rstrip()) and until.startswith(before)):
                raise ValueError(
                    f"chat_template must write a conversation's beginning the same whatever follows, but writes turn "
                    f"{index} differently; set another processor.chat_template to train"
                )
            spans.append((len(before), len(until.rstrip())))
        if not spans:
            raise ValueError(
                "messages must have a turn of the assistant to learn from, got none; add the answer"
            )
        return text, spans

    def _written(self, messages: Sequence[Mapping[str, Any]], *, asks: bool = False) -> str:
        text: str = self.processor.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=asks
        )
        return text


def _moved(place: int, shifts: Sequence[Mapping[str, Any]]) -> int:
    """Where a place of a text lies once its placeholders are expanded."""
    grown = sum(len(one["replacement"]) - len(one["text"]) for one in shifts if one["span"][1] <= place)
    return place + grown


def _level(values: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of the same size in all axes but the first, filled up with zeros behind."""
    most = [max(sizes) for sizes in zip(*(value.shape[1:] for value in values), strict=True)]
    out = []
    for value in values:
        extra = [large - own for large, own in zip(most, value.shape[1:], strict=True)]
        out.append(
            pad(value, [side for more in reversed(extra) for side in (0, more)]) if any(extra) else value
        )
    return out
