"""Reading videos: samples a second of one core, beside plain decoding of the same file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from gazekit.data import Limits, Message, Slot
from gazekit.data.records import DataRoot, Record, RecordOpener, VideoFile, choose_times
from gazekit.data.video import PyAVReader


@dataclass(frozen=True)
class WatchingResult:
    """How fast one way of reading a video is.

    Attributes:
        form: "pyav": decodes the whole file and turns the frames that are shown into pictures. "gazekit": checked path,
            the same number of frames by their times, jumping by key frames.
        samples_per_second: Videos a second of one core's time, from the median round; the file is in memory.
        frames: Shown of the video.
        ratio: To "pyav" in the same rounds.
    """

    form: str
    samples_per_second: float
    frames: int
    ratio: float


def bench_watching(
    folder: Path,
    *,
    seconds: int = 60,
    size: tuple[int, int] = (640, 480),
    rate: int = 30,
    gop: int = 250,
    repeats: int = 5,
) -> Iterator[list[WatchingResult]]:
    """Measures reading a video at a frame a second, in turns; yields the figures so far after each round.

    Args:
        folder: Where the file is made: H.264, smooth noise that drifts.
        seconds: Its length.
        size: Width and height, in pixels.
        rate: Frames a second of the file.
        gop: Frames from one key frame to the next.
        repeats: Rounds; one more goes before, which is not counted.
    """
    path = _make_film(folder / "film.mp4", seconds, size, rate, gop)
    limits = Limits(fps=1.0, frames=128)
    opener, root = RecordOpener(limits=limits, video=PyAVReader(longest=None)), DataRoot(folder)
    asks = Message(role="user", content=(Slot.VIDEO,))
    record = Record(name="", source="", messages=(asks,), videos=(VideoFile(path.name),))
    targets = choose_times(0.0, float(seconds), limits)

    forms: dict[str, Callable[[], int]] = {
        "pyav": lambda: _decode_all(path, targets),
        "gazekit": lambda: len(opener(record, root).videos[0].images),
    }
    times: dict[str, list[float]] = {name: [] for name in forms}
    frames: dict[str, int] = {}
    for round_ in range(repeats + 1):
        for name in list(forms)[:: 1 if round_ % 2 else -1]:
            begin = time.thread_time()  # what other processes take of the core does not count
            frames[name] = forms[name]()
            took = time.thread_time() - begin
            if round_:
                times[name].append(took)
        if round_:
            plain = median(times["pyav"])
            yield [
                WatchingResult(name, 1 / median(kept), frames[name], plain / median(kept))
                for name, kept in times.items()
            ]


def _decode_all(path: Path, targets: list[float]) -> int:
    """Plain PyAV: every frame decoded, in this thread; a picture of each first one that is not before its time."""
    import av

    shown: list[Image.Image] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            if len(shown) < len(targets) and frame.time >= targets[len(shown)] - 1e-6:
                shown.append(frame.to_image())
    return len(shown)


def _make_film(path: Path, seconds: int, size: tuple[int, int], rate: int, gop: int) -> Path:
    import av

    width, height = size
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3), np.uint8))
    scene = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", gop
        stream.options = {"preset": "veryfast"}
        for number in range(seconds * rate):
            drifted = np.ascontiguousarray(np.roll(scene, number, axis=1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drifted, "rgb24")))
        container.mux(stream.encode())
    return path
