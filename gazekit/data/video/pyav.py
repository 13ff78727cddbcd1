"""Reading videos with PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any

from PIL import Image

from gazekit.data.conversation import Frames
from gazekit.data.records.fault import RowFault
from gazekit.data.records.frames import choose_times
from gazekit.data.records.limits import Limits
from gazekit.data.records.record import VideoFile
from gazekit.data.video.extent import check_reader, part_of, refuse_bomb, scaled
from gazekit.data.video.nearest import NearestFrames


@dataclass(frozen=True, kw_only=True)
class PyAVReader:
    """Shows the frames of a video file that are nearest to the times to look at.

    Times are those at which frames are presented, as the file has them, so that a variable frame rate is right too. No
    frame is shown twice: a video that is slower than the rate that is asked for gives fewer. Only the frames that are
    shown are kept, each scaled down at once, and what lies between is jumped over by key frames, not decoded.

    Args:
        longest: Pixels of a frame's longer side; larger frames are scaled down to it as they are decoded, so that a
            hundred of them fit in memory. None = as they are.
        threads: Of the decoder; loaders have a process for each core.

    Raises:
        ValueError: An argument is below 1.
    """

    longest: int | None = 768
    threads: int = 1

    def __post_init__(self) -> None:
        check_reader(self.longest, self.threads)

    def read(self, file: BufferedIOBase, video: VideoFile, limits: Limits) -> Frames:
        """The frames of what `video` names, `limits.fps` a second, at most `limits.frames`.

        Args:
            file: The open file.
            video: Its name in errors, and which part of it is shown.
            limits: How many frames, and of what size at most.

        Raises:
            RowFault: The file cannot be decoded or ends early, its frames are too large, or none is in the part named.
        """
        with _opened(file, video) as container:
            stream = _stream(container, video, limits)
            stream.codec_context.thread_count = self.threads
            rate = float(stream.average_rate or stream.guessed_rate or 0) or 1.0
            targets = choose_times(*part_of(video, _length(container, stream, video), rate), limits)
            found = NearestFrames(container, stream, self._scaled).at(targets)
            first = found[0].time if found else None
            if first is None:
                raise RowFault("frames", f"{video.path} has no frames that can be decoded; fetch it anew")
            if (late := targets[-1] - found[-1].until) > _tolerance(stream, limits):
                raise RowFault(
                    "broken",
                    f"{video.path} ends {late:.1f} s before it should, at {found[-1].time:.1f} s; fetch it anew",
                )
            shown = _distinct(found)
            return Frames(tuple(one.picture for one in shown), tuple(max(0.0, one.time) for one in shown))

    def seconds(self, file: BufferedIOBase, video: VideoFile, limits: Limits) -> float:
        """How long a video is. Its header is read, and packets where that does not say; nothing is decoded.

        Args:
            file: The open file.
            video: Its name in errors.
            limits: Of what size frames may be.

        Raises:
            RowFault: The file is no video, or its frames are too large.
        """
        with _opened(file, video) as container:
            return _length(container, _stream(container, video, limits), video)

    def _scaled(self, frame: Any) -> Image.Image:
        """A decoded frame as a picture, upright."""
        width, height = scaled(frame.width, frame.height, self.longest)
        picture = frame.reformat(width, height, format="rgb24", interpolation="BICUBIC").to_image()
        turns = round(getattr(frame, "rotation", 0) / 90) % 4
        return picture if turns == 0 else picture.transpose(_TURNS[turns])


_TURNS = {
    1: Image.Transpose.ROTATE_90,
    2: Image.Transpose.ROTATE_180,
    3: Image.Transpose.ROTATE_270,
}


@contextmanager
def _opened(file: BufferedIOBase, video: VideoFile) -> Iterator[Any]:
    """The container; whatever FFmpeg says against it becomes a fault of the row."""
    import av

    try:
        # The open file is all that there is: nothing that the container names is opened (playlists, references).
        with av.open(
            file, mode="r", metadata_errors="ignore", options={"protocol_whitelist": "pipe"}
        ) as container:
            yield container
    except RowFault:
        raise
    except (av.error.FFmpegError, OSError, ValueError, OverflowError) as error:
        raise RowFault("broken", f"{video.path} cannot be decoded ({_said(error)}); fetch it anew") from error


def _stream(container: Any, video: VideoFile, limits: Limits) -> Any:
    """The video stream, whose frames are small enough by its header."""
    if not container.streams.video:
        raise RowFault("frames", f"{video.path} has no video stream; leave it out")
    stream = container.streams.video[0]
    refuse_bomb(video, stream.codec_context.width, stream.codec_context.height, limits)
    return stream


def _length(container: Any, stream: Any, video: VideoFile) -> float:
    """Seconds from the first frame to the end of the last.

    Where the stream does not say, by its last packets. What the container says counts from elsewhere in some formats,
    and is only good for seeing that much of a file is gone.
    """
    if stream.duration is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    start = float((stream.start_time or 0) * stream.time_base)
    claimed = (container.duration or 0) / 1_000_000
    last = _last(container, stream, claimed + start) - start
    if claimed - start - last > 1.0:
        raise RowFault(
            "broken",
            f"{video.path} ends {claimed - start - last:.1f} s before it should, at {last:.1f} s; fetch it anew",
        )
    return last


def _last(container: Any, stream: Any, about: float) -> float:
    """When the last packet ends, as the stream counts; all packets are read where the file cannot jump to its end."""
    for aim in (about, None):
        if aim is not None:
            container.seek(int(aim / stream.time_base), stream=stream, backward=True)
        ends = [
            float((packet.pts + (packet.duration or 0)) * stream.time_base)
            for packet in container.demux(stream)
            if packet.pts is not None
        ]
        container.seek(int(stream.start_time or 0), stream=stream, backward=True)
        if ends:
            return max(ends)
    return 0.0


def _tolerance(stream: Any, limits: Limits) -> float:
    """How long before the last time to look frames may end: durations in headers are rounded, and some count sound."""
    rate = float(stream.average_rate or 0) or 1.0
    return max(1.0, 2 / rate, 1 / limits.fps)


def _distinct(found: Sequence[Any]) -> list[Any]:
    """Each frame once."""
    return [one for place, one in enumerate(found) if place == 0 or one.time > found[place - 1].time]


def _said(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
