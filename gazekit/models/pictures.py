"""From whatever a user calls an image to an RGB picture."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

# What Pillow's decoders raise on garbled files (OSError: of no known format, or cut).
_GARBLED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    EOFError,
    struct.error,
    zlib.error,
)
ImageLike = Image.Image | np.ndarray | str | os.PathLike


def open_picture(source: object) -> Image.Image:
    """An image in RGB.

    Args:
        source: A PIL image, an array `[height width]` or `[height width channel]` of bytes, or a file's path.

    Raises:
        ValueError: The file cannot be read or decoded (it is named), or the array is none of these.
    """
    if isinstance(source, Image.Image):
        return source.convert("RGB")
    if isinstance(source, (str, os.PathLike)):
        return _decode(Path(source))
    if not isinstance(source, np.ndarray):
        raise ValueError(f"images must be PIL images, arrays or paths, got {type(source).__name__}")
    fits = source.ndim == 2 or (source.ndim == 3 and source.shape[-1] in (1, 3, 4))
    if source.dtype != np.uint8 or not fits:
        raise ValueError(
            "an image array must hold bytes (uint8) as [height width] or [height width channel], got "
            f"{source.dtype} {list(source.shape)}; scale to 0 ... 255 and put channels last"
        )
    return Image.fromarray(source.squeeze(-1) if source.shape[2:] == (1,) else source).convert("RGB")


def pad_picture(picture: Image.Image, *, aspect: float, fill: tuple[int, int, int]) -> Image.Image:
    """The picture in the middle of a canvas of width / height `aspect`, just large enough."""
    width, height = picture.size
    size = (max(width, round(height * aspect)), max(height, round(width / aspect)))
    canvas = Image.new("RGB", size, fill)
    canvas.paste(picture, ((size[0] - width) // 2, (size[1] - height) // 2))
    return canvas


def _decode(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except FileNotFoundError as error:
        raise ValueError(f"image {path} does not exist; check the path") from error
    except (*_GARBLED, Image.DecompressionBombError) as error:
        raise ValueError(
            f"image {path} cannot be decoded ({error}); replace the file or leave it out"
        ) from error
