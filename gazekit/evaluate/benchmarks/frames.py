"""A few frames of a video, spread evenly over it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def places(total: int, count: int) -> list[int]:
    """Where `count` frames of `total` lie, the first and the last among them; fewer where there are fewer."""
    if total <= count:
        return list(range(total))
    return np.linspace(0, total - 1, count).round().astype(int).tolist()


def read_frames(path: str | os.PathLike, count: int) -> list[Any]:
    """Frames of a video file, or of a folder that holds them as pictures in the order of their names.

    Decoding is from the first frame to the last, without seeking, so that the same frames come out of any file.

    Args:
        path: File or folder.
        count: Frames at most, evenly spread.

    Returns:
        Arrays `[height width channel]` of bytes, or paths of pictures.

    Raises:
        ValueError: `count` is below 1, or the file or folder has no frame.
        ModuleNotFoundError: A file is to be decoded and PyAV is missing.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1 frame, got {count}")
    place = Path(path)
    if place.is_dir():
        found = sorted(one for one in place.iterdir() if one.suffix.lower() in PICTURES)
        frames: list[Any] = [found[index] for index in places(len(found), count)]
    else:
        frames = _decode(place, count)
    if not frames:
        raise ValueError(f"video {place} has no frames; replace it or leave its questions out")
    return frames


def _decode(path: Path, count: int) -> list[Any]:
    """Twice through the file: containers do not always say truly how many frames they hold."""
    import av

    try:
        with av.open(str(path)) as file:
            total = sum(1 for _ in file.decode(video=0))
        wanted, frames = set(places(total, count)), []
        with av.open(str(path)) as file:
            for index, frame in enumerate(file.decode(video=0)):
                if index in wanted:
                    frames.append(frame.to_ndarray(format="rgb24"))
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(
            f"video {path} cannot be decoded ({error}); replace the file or leave its questions out"
        ) from error
    return frames
