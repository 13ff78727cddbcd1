"""ChatML, and which of its tokens an answer consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Labels = Literal["answers", "llava_next_compat"]
"""Which tokens are learned: what the assistant says and the end of its turns; or those that the loaders of LLaVA-NeXT
and Cambrian-S leave unmasked: the assistant's whole turns, headers included, and every newline and turn mark."""

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


def pieces(messages: Sequence[Mapping[str, Any]], labels: str = "answers") -> list[Piece]:
    """A conversation in ChatML, cut where supervision begins and ends.

    Supervised are what the assistant says and the token that ends its turn; never the header of a turn, and nothing
    of the system's or the user's.

    Args:
        messages: With a role and a content each.
        labels: "llava_next_compat" supervises the header of the assistant's turns too, and the newline behind them.

    Raises:
        ValueError: No turn is the assistant's, a turn lacks its role or content, or `labels` is not known.
    """
    if labels not in get_args(Labels):
        raise ValueError(f"labels must be one of {', '.join(get_args(Labels))}, got {labels!r}")
    found: list[Piece] = []
    for number, message in enumerate(messages):
        if "role" not in message or "content" not in message:
            raise ValueError(
                f"messages must have a role and a content each, got {sorted(message)} in message {number}"
            )
        own = message["role"] == "assistant"
        around = own and labels == "llava_next_compat"
        found.append(Piece(f"{TURN_START}{message['role']}\n", around))
        found.append(Piece(_say(message["content"], number), own))
        found.append(Piece(TURN_END, own))
        found.append(Piece("\n", around))
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
