"""From a conversation to tensors, through a processor, shown in fewer frames where it does not fit."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from gazekit.contracts import TooLongError
from gazekit.data.batches import ConversationProcessor
from gazekit.data.conversation import Conversation, Frames, Message

_IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class EncodeConversation:
    """Encodes conversations to learn from.

    Attributes:
        processor: The model's. What it is asked for beyond images it must have arguments for: `videos` and
            `timestamps`, `max_length`, `labels`.
        max_length: Most tokens; None = no limit.
        labels: Which tokens are learned: "answers", or what else the processor knows.
        system: What the system says in conversations in which it says nothing; None = nothing.
        timestamps: Whether frames are preceded by their times, as text.

    Raises:
        ValueError: The processor has no argument for what is asked.
    """

    processor: ConversationProcessor
    max_length: int | None = None
    labels: str = "answers"
    system: str | None = None
    timestamps: bool = False

    def __post_init__(self) -> None:
        known = inspect.signature(self.processor.encode_conversation).parameters
        for name, value in self._options().items():
            if name not in known:
                raise ValueError(
                    f"{name} must be left out, got {value!r}: {type(self.processor).__name__} does not know it"
                )

    def __call__(self, talk: Conversation) -> Mapping[str, Tensor]:
        """One conversation's tensors.

        Raises:
            TooLongError: It does not fit, however few frames are shown, or nothing in it is supervised.
            ValueError: The processor refuses it.
        """
        if self.system is not None and talk.messages[0].role != "system":
            talk = replace(talk, messages=(Message(role="system", content=(self.system,)), *talk.messages))
        while True:
            try:
                return self._encode(talk)
            except TooLongError:
                most = max((len(video.images) for video in talk.videos), default=1)
                if most == 1:
                    raise
                talk = replace(talk, videos=tuple(thin(video, most // 2) for video in talk.videos))

    def _encode(self, talk: Conversation) -> Mapping[str, Tensor]:
        shown: dict[str, Any] = {}
        if talk.videos:
            times = [list(video.timestamps) if self.timestamps else None for video in talk.videos]
            shown = {"videos": [list(video.images) for video in talk.videos], "timestamps": times}
        encoded = self.processor.encode_conversation(
            talk.as_chat(), list(talk.images), **shown, **self._options()
        )
        labels = encoded["labels"]
        if not (labels.reshape(-1)[1:] != _IGNORED).any():
            raise TooLongError("the conversation must have an answer to learn from, got no supervised token")
        return encoded

    def _options(self) -> dict[str, Any]:
        options = {} if self.max_length is None else {"max_length": self.max_length}
        return options if self.labels == "answers" else {**options, "labels": self.labels}


def thin(video: Frames, most: int) -> Frames:
    """A video in fewer frames, evenly spread over those that it has.

    Args:
        video: The video.
        most: Frames that are left, where it has more.
    """
    count = len(video.images)
    if count <= most:
        return video
    kept = [(2 * number + 1) * count // (2 * most) for number in range(most)]
    return Frames(tuple(video.images[k] for k in kept), tuple(video.timestamps[k] for k in kept))
