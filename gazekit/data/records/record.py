"""What one row says: turns, the images and videos that they show, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gazekit.data.conversation import Message


@dataclass(frozen=True)
class ImageFile:
    """An image that a record shows.

    Attributes:
        path: Where it lies, relative to the data's root; None = it lies in the row itself.
        data: The file's bytes, where the row holds them.
    """

    path: str | None
    data: bytes | None = None


@dataclass(frozen=True)
class VideoFile:
    """A video that a record shows, or a part of one.

    Attributes:
        path: A video file, or a folder of frames, relative to the data's root.
        start: Seconds at which what is shown begins; None = at its beginning.
        end: Seconds at which it ends; None = at its end.
        first_frame: Frame with which it begins, counted from 0; None = the first.
        last_frame: Frame with which it ends, itself shown; None = the last.
        fps: Frames a second of a folder of frames; None = as whoever reads it has it.
    """

    path: str
    start: float | None = None
    end: float | None = None
    first_frame: int | None = None
    last_frame: int | None = None
    fps: float | None = None


@dataclass(frozen=True)
class Record:
    """A conversation whose images and videos have not been opened.

    Attributes:
        name: The row's `id`, as text; "" = it has none.
        source: The data set that the row says it is from.
        messages: Turns, with a slot for each image and video.
        images: What the image slots show, in order.
        videos: What the video slots show, in order.
        duration: Seconds of the video, where the row says so.
    """

    name: str
    source: str
    messages: Sequence[Message]
    images: Sequence[ImageFile] = ()
    videos: Sequence[VideoFile] = ()
    duration: float | None = None
