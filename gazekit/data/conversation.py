"""What a data set hands to a processor: messages in turn, and the images they show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from PIL import Image

ROLES = ("system", "user", "assistant")


class Slot(Enum):
    """A place inside a message that stands for something other than text."""

    IMAGE = "image"
    VIDEO = "video"


@dataclass(frozen=True)
class Message:
    """One turn.

    Attributes:
        role: "system", "user" or "assistant".
        content: Text and slots in the order in which the model reads them. A slot takes the conversation's
            next image, or its next video.

    Raises:
        ValueError: If the role is none of these, or the content is empty.
    """

    role: str
    content: tuple[str | Slot, ...]

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(
                f"role must be one of {', '.join(ROLES)}, got {self.role!r}; rename it in the data"
            )
        if not self.content:
            raise ValueError(
                f"content of a message must not be empty, got () for role {self.role!r}; leave it out"
            )

    @property
    def text(self) -> str:
        """The message without its slots."""
        return " ".join(part for part in self.content if isinstance(part, str))


@dataclass(frozen=True)
class Frames:
    """What is shown of a video.

    Attributes:
        images: Frames in order.
        timestamps: When each is seen, in seconds from the beginning of the video, ascending.

    Raises:
        ValueError: There are none, or not as many times as frames.
    """

    images: tuple[Image.Image, ...]
    timestamps: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.images or len(self.images) != len(self.timestamps):
            raise ValueError(
                f"images must be at least one, each with its timestamp, got {len(self.images)} and "
                f"{len(self.timestamps)} timestamps; leave a video without frames out"
            )


@dataclass(frozen=True)
class Conversation:
    """A dialogue about images and videos.

    It ends with the assistant's turn in training, with the user's where an answer is to be generated.

    Attributes:
        messages: An optional system message, then user and assistant in turn.
        images: What the messages' image slots show, in order.
        videos: What the messages' video slots show, in order.

    Raises:
        ValueError: If the roles are out of turn, or slots and images or videos differ in number.

    Example:
        >>> from PIL import Image
        >>> from gazekit.data import Conversation, Message, Slot
        >>> ask = Message(role="user", content=(Slot.IMAGE, "what is this?"))
        >>> Conversation(messages=(ask,), images=(Image.new("RGB", (8, 8)),)).as_chat()
        [{'role': 'user', 'content': [{'type': 'image'}, {'type': 'text', 'text': 'what is this?'}]}]
    """

    messages: tuple[Message, ...]
    images: tuple[Image.Image, ...] = ()
    videos: tuple[Frames, ...] = ()

    def __post_init__(self) -> None:
        roles = [message.role for message in self.messages]
        turns = roles[1:] if roles[:1] == ["system"] else roles
        if not turns or turns != [("user", "assistant")[i % 2] for i in range(len(turns))]:
            raise ValueError(
                f"messages must take turns, user first (after an optional system message), got roles {roles};"
                " merge neighbouring messages of one role"
            )
        for slot, given in ((Slot.IMAGE, self.images), (Slot.VIDEO, self.videos)):
            slots = sum(part is slot for message in self.messages for part in message.content)
            if slots != len(given):
                raise ValueError(
                    f"messages show {slots} {slot.value}s and {slot.value}s holds {len(given)};"
                    f" give one Slot.{slot.name} for each {slot.value}"
                )

    def as_chat(self) -> list[dict[str, object]]:
        """The messages as transformers' chat templates take them: dicts with a role and typed contents."""
        return [
            {
                "role": message.role,
                "content": [
                    {"type": "text", "text": part} if isinstance(part, str) else {"type": part.value}
                    for part in message.content
                ],
            }
            for message in self.messages
        ]
