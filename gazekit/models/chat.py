"""ChatML, and which of its tokens an answer consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
IMAGE_MARK, VIDEO_MARK = "<image>", "<video>"

CHATML = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'text' -%}{{- part['text'] -}}{%- else -%}{{- '<' + part['type'] + '>' -}}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


@dataclass(frozen=True)
class Piece:
    """A stretch of a conversation's text.

    Attributes:
        text: What it says.
        supervised: Whether a model learns to say it.
    """

    text: str
    supervised: bool


def pieces(messages: Sequence[Mapping[str, Any]]) -> list[Piece]:
    """A conversation in ChatML, cut where supervision begins and ends.

    Supervised are what the assistant says and the token that ends its turn; never the header of a turn, and nothing
    of the system's or the user's.

    Raises:
        ValueError: No turn is the assistant's, or a turn lacks its role or content.
    """
    found: list[Piece] = []
    for number, message in enumerate(messages):
        if "role" not in message or "content" not in message:
            raise ValueError(
                f"messages must have a role and a content each, got {sorted(message)} in message {number}"
            )
        own = message["role"] == "assistant"
        found.append(Piece(f"{TURN_START}{message['role']}\n", False))
        found.append(Piece(_say(message["content"], number), own))
        found.append(Piece(TURN_END, own))
        found.append(Piece("\n", False))
    if not any(piece.supervised for piece in found):
        raise ValueError(
            "messages must have a turn of the assistant to learn from, got none; "
            "use apply_chat_template(..., add_generation_prompt=True) for a prompt"
        )
    return found


def media(messages: Sequence[Mapping[str, Any]], kind: str) -> list[Any]:
    """The images or videos that typed contents carry themselves, in order."""
    parts = [part for m in messages if not isinstance(m["content"], str) for part in m["content"]]
    return [
        part[key] for part in parts if part["type"] == kind for key in (kind, "path", "url") if key in part
    ]


def _say(content: str | Sequence[Mapping[str, Any]], number: int) -> str:
    if isinstance(content, str):
        return content
    marks = {"image": IMAGE_MARK, "video": VIDEO_MARK}
    known = {*marks, "text"}
    for part in content:
        if part.get("type") not in known:
            raise ValueError(
                f"a content's type must be one of {', '.join(sorted(known))}, got {part.get('type')!r} "
                f"in message {number}"
            )
    return "".join(part["text"] if part["type"] == "text" else marks[part["type"]] for part in content)
