"""What readers of videos have in common: which part is shown, and how large."""

from __future__ import annotations

from gazekit.data.records.fault import RowFault
from gazekit.data.records.limits import Limits
from gazekit.data.records.record import VideoFile


def part_of(video: VideoFile, length: float, rate: float) -> tuple[float, float]:
    """When what is shown begins and ends, in seconds from the first frame.

    Args:
        video: Which part it names.
        length: Seconds of the whole.
        rate: Mean frames a second, by which numbers of frames become times.

    Raises:
        RowFault: There is nothing between.
    """
    begin = max(0.0, video.start or 0.0)
    end = length if video.end is None else min(length, video.end)
    if video.first_frame is not None:
        begin = max(begin, video.first_frame / rate)
    if video.last_frame is not None:
        end = min(end, (video.last_frame + 1) / rate)
    if not end > begin:
        raise RowFault(
            "frames", f"{video.path} has nothing from {begin:g} s to {end:g} s; it is {length:g} s long"
        )
    return begin, end


def refuse_bomb(video: VideoFile, width: int, height: int, limits: Limits) -> None:
    """Refuses frames by the size that the header gives, before any is decoded.

    Raises:
        RowFault: They have too many pixels.
    """
    if width * height > limits.pixels:
        raise RowFault(
            "bomb",
            f"{video.path} has frames of {width} x {height} pixels, more than {limits.pixels:,}; scale it down",
        )


def scaled(width: int, height: int, longest: int | None) -> tuple[int, int]:
    """Width and height in pixels with the longer side at most `longest`; None = as they are."""
    if longest is None or max(width, height) <= longest:
        return width, height
    scale = longest / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def check_reader(longest: int | None, threads: int) -> None:
    """Checks what readers take.

    Raises:
        ValueError: An argument is below 1.
    """
    for name, value in (("longest", longest), ("threads", threads)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}; leave it out for the default")
