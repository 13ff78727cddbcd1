"""From a row of Cambrian's or LLaVA's JSON to a record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gazekit.data.conversation import Message, Slot
from gazekit.data.records.fault import RowFault
from gazekit.data.records.record import ImageFile, Record, VideoFile
from gazekit.data.records.turns import Turns, read_turns

_NONE = ("", "none", "nan", "null")
_FASTEST = 1e6  # frames a second, and seconds a frame: beyond it times are no numbers any more
PARTS = ("start", "end", "start_frame", "end_frame", "current_observation_frame")
"""The keys by which a row says which part of its video it shows."""
_MARK = {Slot.IMAGE: "<image>", Slot.VIDEO: "<video>"}


def read_record(row: Mapping[str, Any], source: str = "") -> Record:
    """Reads one row, as Cambrian, LLaVA and chat templates write them.

    `image`, `images`, `video` and `videos` name what is shown, in order, each a path or a list of paths; "" and "none"
    name nothing. Marks in the questions say where it stands. Where there are none, everything stands before the first
    question; where there is only video, `<image>` marks it too.

    Args:
        row: Parsed JSON.
        source: Where the row is from, unless it says so itself (`data_source`, `source`).

    Raises:
        RowFault: Something is of the wrong type, out of turn, without an answer, or marks and images differ in number.
    """
    turns = read_turns(row)
    images = [_image(value) for value in _shown(row, "image", turns)]
    videos = [_video(value, row) for value in _shown(row, "video", turns)]
    return Record(
        name=str(row.get("id", "")),
        source=source_of(row, source),
        messages=tuple(_place(turns.messages, {Slot.IMAGE: len(images), Slot.VIDEO: len(videos)})),
        images=tuple(images),
        videos=tuple(videos),
        duration=duration_of(row),
    )


def source_of(row: Mapping[str, Any], otherwise: str = "") -> str:
    """The data set that a row says it is from."""
    named = row.get("data_source", row.get("source"))
    return named if isinstance(named, str) and named else otherwise


def duration_of(row: Mapping[str, Any]) -> float | None:
    """Seconds that a row's video lasts: from its start to its end, else its `video_duration`; None = it says neither.

    Raises:
        RowFault: A time is no number.
    """
    end, start = _number(row, "end"), _number(row, "start")
    if end is not None:
        return end - (start or 0.0)
    whole = _number(row, "video_duration")
    whole = _number(row, "duration") if whole is None else whole
    return whole if whole is None or start is None else whole - start


def named_paths(row: Mapping[str, Any]) -> list[str]:
    """The paths that a row names, whatever else is wrong with it."""
    values = [row.get(key) for key in ("image", "images", "video", "videos")]
    listed = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return [one for one in listed if isinstance(one, str) and one.lower() not in _NONE]


def _shown(row: Mapping[str, Any], kind: str, turns: Turns) -> list[Any]:
    """What a row shows of a kind: what it lists, or what its contents name themselves."""
    listed: list[Any] = []
    for key in (kind, f"{kind}s"):
        value = row.get(key)
        values = value if isinstance(value, list) else [value]
        listed += [one for one in values if one is not None and not _is_none(one)]
    inside = turns.shown[Slot(kind)]
    if listed and inside:
        raise RowFault(
            "type", f"{kind} must be named by the row or inside its messages, got both; leave one out"
        )
    return listed or inside


def _is_none(value: object) -> bool:
    return (isinstance(value, str) and value.lower() in _NONE) or (
        isinstance(value, float) and math.isnan(value)
    )


def _image(value: object) -> ImageFile:
    """A path, or what Hugging Face `datasets` makes of an image that is not decoded: path and bytes."""
    if isinstance(value, str):
        return ImageFile(value)
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        return ImageFile(None, value["bytes"])
    if isinstance(value, Mapping) and isinstance(value.get("path"), str):
        return ImageFile(value["path"])
    raise RowFault(
        "type", f"image must be a path, or a list of paths, got {type(value).__name__} {value!r:.40}"
    )


def _video(value: object, row: Mapping[str, Any]) -> VideoFile:
    if not isinstance(value, str):
        raise RowFault(
            "type", f"video must be a path, or a list of paths, got {type(value).__name__} {value!r:.40}"
        )
    start, end = _number(row, "start"), _number(row, "end")
    first, last = _frame(row, "start_frame"), _frame(row, "end_frame")
    seen = _frame(row, "current_observation_frame")
    last = last if seen is None else min(seen, seen if last is None else last)
    for name, low, high in (("end", start, end), ("end_frame", first, last)):
        if high is not None and high < (low or 0):
            raise RowFault("type", f"{name} must not come before the start ({low}), got {high}")
    return VideoFile(value, start, end, first, last, _rate(row))


def _rate(row: Mapping[str, Any]) -> float | None:
    rate = _number(row, "fps")
    if rate is not None and not 1 / _FASTEST <= rate <= _FASTEST:
        raise RowFault("type", f"fps must be above 0, from {1 / _FASTEST:g} to {_FASTEST:g}, got {rate}")
    return rate


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    try:
        if not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value):
            return float(value)
    except OverflowError:  # JSON's integers may have thousands of digits
        pass
    raise RowFault("type", f"{name} must be a number, got {type(value).__name__} {value!r:.40}")


def _frame(row: Mapping[str, Any], name: str) -> int | None:
    value = _number(row, name)
    if value is not None and (value < 0 or value != int(value)):
        raise RowFault("type", f"{name} must be a frame, counted from 0, got {value}")
    return None if value is None else int(value)


def _place(messages: Sequence[Message], counts: Mapping[Slot, int]) -> list[Message]:
    """The messages with a slot for everything that is shown."""
    said = [part for message in messages for part in message.content]
    marks = {slot: said.count(slot) for slot in _MARK}
    if counts[Slot.VIDEO] and not counts[Slot.IMAGE] and not marks[Slot.VIDEO]:
        messages = [replace(m, content=tuple(_as_video(part) for part in m.content)) for m in messages]
        marks = {Slot.IMAGE: 0, Slot.VIDEO: marks[Slot.IMAGE]}
    if not any(marks.values()):
        first = next(number for number, message in enumerate(messages) if message.role == "user")
        shown = (slot for slot in Slot for _ in range(counts[slot]))
        before = tuple(part for slot in shown for part in (slot, "\n"))
        content = (*before, *messages[first].content)
        return [*messages[:first], replace(messages[first], content=content), *messages[first + 1 :]]
    for slot, mark in _MARK.items():
        if marks[slot] != counts[slot]:
            raise RowFault(
                "marks",
                f"{mark} stands {marks[slot]} times for {counts[slot]} {slot.value}s; put one where each stands",
            )
    return list(messages)


def _as_video(part: str | Slot) -> str | Slot:
    return Slot.VIDEO if part is Slot.IMAGE else part
