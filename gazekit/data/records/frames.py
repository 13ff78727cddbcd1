"""Which frames of a video are shown, and how those of a folder are read."""

from __future__ import annotations

import bisect
import os
import re
from collections.abc import Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import Protocol, runtime_checkable

from gazekit.data.conversation import Frames
from gazekit.data.records.fault import RowFault
from gazekit.data.records.limits import Limits
from gazekit.data.records.picture import read_picture
from gazekit.data.records.record import ImageFile, VideoFile
from gazekit.data.records.root import DataRoot

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""How the names of files end that are images."""

_CLOSE = 1e-6  # seconds; times are sums of floats


@runtime_checkable
class VideoReader(Protocol):
    """Reads the frames of a video file that are shown."""

    def read(self, file: BufferedIOBase, video: VideoFile, limits: Limits) -> Frames:
        """The frames of what `video` names, `limits.fps` a second, at most `limits.frames`.

        It is handed an open file, and no path, so that no file can lead it to another one.

        Raises:
            ValueError: The file cannot be decoded, or holds no frame of what is named.
        """
        ...


def choose_times(begin: float, end: float, limits: Limits) -> list[float]:
    """When to look: `fps` times a second from the beginning on; where that is too often, evenly over the whole.

    Args:
        begin: Seconds at which what is shown begins.
        end: Seconds at which it ends.
        limits: How often, and how often at most.
    """
    count = max(1, int((end - begin) * limits.fps - _CLOSE) + 1)
    if count <= limits.frames:
        return [begin + number / limits.fps for number in range(count)]
    step = (end - begin) / limits.frames
    return [begin + (number + 0.5) * step for number in range(limits.frames)]


def choose_frames(times: Sequence[float], targets: Sequence[float]) -> list[int]:
    """For each time to look the frame that is seen then: the last that is not later. No frame is chosen twice.

    Args:
        times: When each frame appears, ascending.
        targets: When to look, ascending.
    """
    seen = [max(0, bisect.bisect_right(times, target + _CLOSE) - 1) for target in targets]
    return sorted(set(seen))


def list_pictures(folder: Path) -> list[str]:
    """The names of the images in a folder by their endings, numbers in them counted as such."""
    return sorted((n for n in os.listdir(folder) if n.lower().endswith(PICTURES)), key=_natural)


def read_folder(
    folder: Path, video: VideoFile, root: DataRoot, limits: Limits, *, header_only: bool = False
) -> Frames:
    """The frames of a folder that are shown.

    They are in the order of their names, numbers counted as such, and evenly apart. With `header_only` no frame is
    decoded, only its size is read.

    Raises:
        RowFault: There are none, or one cannot be read.
    """
    try:
        names = list_pictures(folder)
    except OSError as error:
        raise RowFault(
            "missing", f"{video.path} cannot be listed in {root.folder} ({error.strerror})"
        ) from error
    last = len(names) - 1 if video.last_frame is None else min(video.last_frame, len(names) - 1)
    rate = video.fps or next((r for text, r in limits.folder_fps.items() if text in video.path), 1.0)
    begin = max(video.start or 0.0, (video.first_frame or 0) / rate)
    end = min((last + 1) / rate, float("inf") if video.end is None else video.end + _CLOSE)
    if not names or end <= begin:
        raise RowFault(
            "frames", f"{video.path} has no frame from {begin:g} s to {end:g} s, of {len(names)} in all"
        )
    times = [number / rate for number in range(last + 1)]
    chosen = choose_frames(times, choose_times(begin, end, limits))
    pictures = [
        read_picture(
            ImageFile(f"{video.path}/{names[number]}"), root, pixels=limits.pixels, header_only=header_only
        )
        for number in chosen
    ]
    return Frames(tuple(pictures), tuple(times[number] for number in chosen))


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]
