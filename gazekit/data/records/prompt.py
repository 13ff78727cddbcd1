"""From a row of questions to a record that ends with the question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gazekit.data.conversation import Message, Slot
from gazekit.data.records.fault import RowFault
from gazekit.data.records.record import Record
from gazekit.data.records.schema import read_record

_MARKS = ("<image>", "<video>")


def read_prompt(row: Mapping[str, Any]) -> Record:
    """Reads one row that asks and has no answer.

    `image`, `images`, `video`, `videos`, `start`, `end` and the like are those of training data (`read_record`), and so
    are marks in the question. Without marks everything stands before it.

    Args:
        row: Parsed JSON, with `ask`: the question.

    Raises:
        RowFault: There is no question, something is of the wrong type, or marks and images differ in number.
    """
    ask = row.get("ask")
    if not isinstance(ask, str) or not ask.strip():
        raise RowFault("type", f"ask must be the question as text, got {type(ask).__name__} {ask!r:.40}")
    turns = [{"from": "human", "value": ask}, {"from": "gpt", "value": "-"}]
    shown = {key: value for key, value in row.items() if key not in ("ask", "messages", "conversations")}
    record = read_record({**shown, "conversations": turns})
    question = record.messages[0]
    if not any(mark in ask for mark in _MARKS):
        slots = [part for part in question.content if isinstance(part, Slot)]
        question = Message(role="user", content=(*slots, ask))
    return replace(record, messages=(question,))
