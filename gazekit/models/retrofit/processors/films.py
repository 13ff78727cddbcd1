"""Frames with their times, as stock processors take videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import ProcessorMixin
from transformers.video_utils import VideoMetadata

from gazekit.models.pictures import ImageLike, open_picture

_TICKS = (
    1000  # of a second: stock processors count frames at a rate, so that times are told as frames at this one
)


def films_of(
    processor: ProcessorMixin,
    videos: Sequence[Sequence[ImageLike]],
    timestamps: Sequence[Sequence[float] | None],
) -> dict[str, Any]:
    """The arguments that show a stock processor the frames of videos, all of them.

    Args:
        processor: Any that takes videos.
        videos: The frames of each.
        timestamps: Seconds of each frame; None, or nothing at all = a frame a second.

    Raises:
        ValueError: The processor takes no videos, or a video has other times than frames.
    """
    if getattr(processor, "video_processor", None) is None:
        raise ValueError(
            f"videos must be left out, got {len(videos)}: {type(processor).__name__} takes none; show frames as images"
        )
    times = [
        list(range(len(video))) if time is None else list(time)
        for video, time in zip(videos, timestamps or [None] * len(videos), strict=True)
    ]
    for number, (video, time) in enumerate(zip(videos, times, strict=True)):
        if not len(video) == len(time) > 0:
            raise ValueError(
                f"timestamps must be one for each frame, of at least one, got {len(time)} for {len(video)} frames of "
                f"video {number}; None where they are not known"
            )
    return {
        "videos": [[[open_picture(frame) for frame in video] for video in videos]],
        "video_metadata": [[_metadata(time) for time in times]],
        "do_sample_frames": False,
    }


def _metadata(times: Sequence[float]) -> VideoMetadata:
    """A video of so many ticks as these frames last, each as long as their mean distance."""
    gap = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1.0
    return VideoMetadata(
        total_num_frames=max(1, round(gap * len(times) * _TICKS)),
        fps=float(_TICKS),
        frames_indices=[round(time * _TICKS) for time in times],
    )
