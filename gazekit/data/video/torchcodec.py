"""Reading videos with torchcodec."""

from __future__ import annotations

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


@dataclass(frozen=True, kw_only=True)
class TorchcodecReader:
    """Shows the same frames as `PyAVReader`, decoded by torchcodec: for machines that have it and its FFmpeg.

    torchcodec knows which frame is seen at a time and for how long; where the next one is nearer, that is taken.

    Args:
        longest: Pixels of a frame's longer side; larger frames are scaled down to it as they come. None = as they are.
        threads: Of the decoder.

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
            RowFault: The file cannot be decoded, its frames are too large, or none is in the part named.
            ModuleNotFoundError: torchcodec is not installed.
        """
        from torchcodec.decoders import VideoDecoder

        try:
            decoder = VideoDecoder(file, num_ffmpeg_threads=self.threads)
            about = decoder.metadata
            refuse_bomb(video, about.width, about.height, limits)
            first, last = float(about.begin_stream_seconds), float(about.end_stream_seconds)
            begin, end = part_of(video, last - first, float(about.average_fps or 1.0))
            shown: dict[float, Image.Image] = {}
            for target in choose_times(begin, end, limits):
                frame = _nearest(decoder, first + target, last)
                time = float(frame.pts_seconds) - first
                if time not in shown:
                    shown[time] = self._scaled(frame)
        except RowFault:
            raise
        except (RuntimeError, ValueError, IndexError) as error:
            said = " ".join(str(error).split())[:200]
            raise RowFault("broken", f"{video.path} cannot be decoded ({said}); fetch it anew") from error
        return Frames(tuple(shown.values()), tuple(max(0.0, time) for time in shown))

    def _scaled(self, frame: Any) -> Image.Image:
        """A decoded frame `[channel height width]` as a picture."""
        picture = Image.fromarray(frame.data.permute(1, 2, 0).contiguous().cpu().numpy())
        size = scaled(*picture.size, self.longest)
        return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)


def _nearest(decoder: Any, target: float, last: float) -> Any:
    """The frame that is nearest to a time: the one seen then, or the next."""
    seen = decoder.get_frame_played_at(min(target, last - 1e-6))
    after = float(seen.pts_seconds) + float(seen.duration_seconds)
    if after < last and after - target < target - float(seen.pts_seconds):
        return decoder.get_frame_played_at(after + 1e-6)
    return seen
