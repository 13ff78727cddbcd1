"""Videos whose every frame says when it is."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

TICKS = 15360
ROWS, COLUMNS = 3, 4
"""A picture is a table of black and white cells: the bits of its number."""


def make_film(path: Path, times, *, size=(64, 48), gop=30, start=0.0, rotation=None) -> Path:
    """A video with a frame at each time, in seconds, that shows its own number.

    Args:
        path: Where it goes; its ending says in which container.
        times: When frames are presented, ascending.
        size: Width and height.
        gop: Frames from one key frame to the next at most.
        start: What every time stamp is shifted by.
        rotation: Degrees by which a player turns it, counter-clockwise.
    """
    import av

    base = Fraction(1, TICKS)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, "yuv420p", gop
        stream.time_base = stream.codec_context.time_base = base
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number, size), "rgb24")
            frame.pts, frame.time_base = round((time + start) * TICKS), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def picture(number: int, size: tuple[int, int]) -> np.ndarray:
    bits = [(number >> bit) & 1 for bit in range(ROWS * COLUMNS)]
    cells = np.array(bits, dtype=np.uint8).reshape(ROWS, COLUMNS) * 255
    height, width = size[1] // ROWS, size[0] // COLUMNS
    return np.repeat(cells.repeat(height, 0).repeat(width, 1)[:, :, None], 3, axis=2)


def number_of(shown: Image.Image) -> int:
    """The number that a frame shows."""
    small = np.asarray(shown.convert("L").resize((COLUMNS, ROWS), Image.Resampling.BOX)) > 127
    return sum(int(bit) << place for place, bit in enumerate(small.flatten()))


def uneven(count: int, seed: int = 0) -> list[float]:
    """Times of a variable frame rate: gaps of a thirtieth to three tenths of a second, on the container's ticks."""
    gaps = np.random.default_rng(seed).choice([512, 1024, 4608], size=count - 1)
    return [0.0, *(np.cumsum(gaps) / TICKS).tolist()]
