"""A few frames of a video, spread evenly over it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from gazekit.data.records.fault import RowFault
from gazekit.data.records.frames import list_pictures
from gazekit.data.records.limits import Limits
from gazekit.data.records.record import VideoFile


def places(total: int, count: int) -> list[int]:
    """Where `count` frames of `total` lie, the first and the last among them; fewer where there are fewer."""
    if total <= count:
        return list(range(total))
    return np.linspace(0, total - 1, count).round().astype(int).tolist()


def read_frames(path: str | os.PathLike, count: int, fps: float = 1.0) -> list[Any]:
    """Frames of a video file, as training shows them, or of a folder of pictures in the order of their names.

    Args:
        path: File, or a folder; numbers in names count as such: frame_2 comes before frame_10.
        count: Frames at most, evenly spread.
        fps: Frames of a file that are shown a second, as long as `count` suffice; those of a folder have no times.

    Returns:
        PIL images, or paths of pictures.

    Raises:
        ValueError: `count` or `fps` leaves nothing, or the file or folder has no frame.
        ModuleNotFoundError: A file is to be decoded and PyAV is missing.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1 frame, got {count}")
    place = Path(path)
    if not place.is_dir():
        return _decode(place, Limits(fps=fps, frames=count))
    found = [place / name for name in list_pictures(place)]
    if not found:
        raise ValueError(f"video {place} has no frames; replace it or leave its questions out")
    return [found[index] for index in places(len(found), count)]


def _decode(path: Path, limits: Limits) -> list[Any]:
    from gazekit.data.video import PyAVReader

    try:
        with path.open("rb") as file:
            return list(PyAVReader().read(file, VideoFile(path=str(path)), limits).images)
    except (RowFault, OSError) as error:
        raise ValueError(
            f"video {path} cannot be decoded ({error}); replace the file or leave its questions out"
        ) from error
