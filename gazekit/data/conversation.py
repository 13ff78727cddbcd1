"""What a data set hands to a processor: messages in turn, and the images they show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from PIL import Image

ROLES = ("system", "user", "assistant")


class Slot(Enum):
    """A place inside a message that stands for something other than text."""

    IMAGE = "image"


@dataclass(frozen=True)
class Message:
    """One turn.

    Attributes:
        role: "system", "user" or "assistant".
        content: Text and slots in the order in which the model reads them. A slot takes the conversation's
            next image.

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
class Conversation:
    """A dialogue about images.

    It ends with the assistant's turn in training, with the user's where an answer is to be generated.

    Attributes:
        messages: An optional system message, then user and assistant in turn.
        images: What the messages' image slots show, in order.

    Raises:
        ValueError: If the roles are out of turn, or slots and images differ in number.

    Example:
        >>> from PIL import Image
        >>> from gazekit.data import Conversation, Message, Slot
        >>> ask = Message(role="user", content=(Slot.IMAGE, "what is this?"))
        >>> Conversation(messages=(ask,), images=(Image.new("RGB", (8, 8)),)).as_chat()
        [{'role': 'user', 'content': [{'type': 'image'}, {'type': 'text', 'text': 'what is this?'}]}]
    """

    messages: tuple[Message, ...]
    images: tuple[Image.Image, ...] = ()

    def __post_init__(self) -> None:
        roles = [message.role for message in self.messages]
        turns = roles[1:] if roles[:1] == ["system"] else roles
        if not turns or turns != [("user", "assistant")[i % 2] for i in range(len(turns))]:
            raise ValueError(
                f"messages must take turns, user first (after an optional system message), got roles {roles};"
                " merge neighbouring messages of one role"
            )
        slots = sum(part is Slot.IMAGE for message in self.messages for part in message.content)
        if slots != len(self.images):
            raise ValueError(
                f"messages show {slots} images and images holds {len(self.images)};"
                " give one Slot.IMAGE for each image"
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
