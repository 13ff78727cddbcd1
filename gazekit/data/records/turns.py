"""From the turns that rows hold to messages with slots."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gazekit.data.conversation import Message, Slot
from gazekit.data.records.fault import RowFault

_ROLES = {
    "human": "user", "user": "user",
    "gpt": "assistant", "assistant": "assistant", "model": "assistant",
    "system": "system",
}  # fmt: skip
_MARKS = {"<image>": Slot.IMAGE, "<video>": Slot.VIDEO}
_SPLIT = re.compile("(<image>|<video>)")


@dataclass
class Turns:
    """The turns of a row.

    Attributes:
        messages: In order, what stood before the first user's turn (but the system's) left out.
        shown: What typed contents name themselves, by the slot that shows it, in order.
    """

    messages: list[Message]
    shown: dict[Slot, list[Any]] = field(default_factory=lambda: {slot: [] for slot in Slot})


def read_turns(row: Mapping[str, Any]) -> Turns:
    """The turns of `conversations` (from, value) or of `messages` (role, content), whichever the row has.

    A conversation that the assistant opens begins with its first question, as in LLaVA's loader.

    Raises:
        RowFault: Something is of the wrong type, out of turn, or the assistant does not have the last word.
    """
    key = next((name for name in ("conversations", "messages") if name in row), None)
    if key is None:
        raise RowFault(
            "type", f"conversations must be given, or messages; got the keys {sorted(map(str, row))}"
        )
    if not isinstance(row[key], list) or not row[key]:
        raise RowFault("type", f"{key} must be a list of turns, got {_show(row[key])}")
    turns = Turns([])
    for number, turn in enumerate(row[key]):
        message = _message(turn, f"{key}[{number}]", turns)
        opening = message.role == "assistant" and all(m.role == "system" for m in turns.messages)
        if not opening:
            turns.messages.append(message)
    _check_order(turns.messages)
    return turns


def _message(turn: object, where: str, turns: Turns) -> Message:
    if not isinstance(turn, Mapping):
        raise RowFault("type", f"{where} must be an object, got {_show(turn)}")
    role, content = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
    if not isinstance(role, str) or role.lower() not in _ROLES:
        raise RowFault("type", f"{where} must be of one of {', '.join(_ROLES)}, got {_show(role)}")
    role = _ROLES[role.lower()]
    if isinstance(content, str):
        parts = _split(content)
    elif isinstance(content, list):
        parts = [part for item in content for part in _typed(item, where, turns)]
    else:
        raise RowFault("type", f"{where} must hold text, or a list of parts, got {_show(content)}")
    said = [part for part in parts if part]
    if role == "assistant" and not any(isinstance(part, str) and part.strip() for part in said):
        raise RowFault("answer", f"{where} must say something, it is the assistant's; leave the row out")
    if role != "user" and any(isinstance(part, Slot) for part in said):
        raise RowFault("marks", f"{where} must not hold <image> or <video>: only questions show something")
    if not said:
        raise RowFault("type", f"{where} must not be empty; leave the turn and its answer out")
    return Message(role=role, content=tuple(said))


def _split(text: str) -> list[str | Slot]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowFault("type", f"a text must be Unicode, got half a surrogate pair ({error})") from error
    return [_MARKS.get(part, part) for part in _SPLIT.split(text)] if "<" in text else [text]


def _typed(item: object, where: str, turns: Turns) -> list[str | Slot]:
    """A part of a content that is a list, as transformers' chat templates take them."""
    part = item if isinstance(item, Mapping) else {}
    kind, text = part.get("type"), part.get("text")
    if kind == "text" and isinstance(text, str):
        return _split(text)
    if kind in ("image", "video"):
        slot = Slot(kind)
        turns.shown[slot] += [part[key] for key in (kind, "path", "url") if part.get(key) is not None][:1]
        return [slot]
    raise RowFault(
        "type", f"a part of {where} must be a text, an image or a video with its type, got {_show(item)}"
    )


def _check_order(messages: Sequence[Message]) -> None:
    roles = [message.role for message in messages]
    asked = roles[1:] if roles[:1] == ["system"] else roles
    if "assistant" not in asked:
        raise RowFault(
            "answer", "the conversation has no answer: nothing is the assistant's; leave the row out"
        )
    if asked != [("user", "assistant")[number % 2] for number in range(len(asked))]:
        raise RowFault(
            "turns", f"turns must alternate, user first, got {', '.join(roles)}; merge neighbours of one role"
        )
    if asked[-1] != "assistant":
        raise RowFault("answer", "the last question has no answer; leave it out")


def _show(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text[:40]}{'...' if len(text) > 40 else ''}"
