"""Files of images to RGB pictures, hostile ones refused."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image, UnidentifiedImageError

from gazekit.data.records.fault import RowFault
from gazekit.data.records.record import ImageFile
from gazekit.data.records.root import DataRoot

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What is opened, by PIL's names: no format that runs a program or that few have tried to break."""

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow's decoders raise on garbled files.
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


def read_picture(
    image: ImageFile, root: DataRoot | None, *, pixels: int, header_only: bool = False
) -> Image.Image:
    """An image in RGB.

    Its size is read off its header and refused before anything is decoded.

    Args:
        image: Where it lies.
        root: What its path is relative to.
        pixels: Most pixels that are decoded.
        header_only: Decodes nothing: a file that is cut passes.

    Raises:
        RowFault: It is missing, outside the root, empty, too large, or cannot be decoded.
    """
    if image.data is not None:
        if not image.data:
            raise RowFault("empty", "an image in the row has no content")
        return _decode(io.BytesIO(image.data), "an image in the row", pixels, header_only)
    assert image.path is not None
    if root is None:
        raise RowFault("missing", f"{image.path} cannot be found: the data has no root; name its folder")
    with root.open(image.path) as file:
        return _decode(file, image.path, pixels, header_only)


def _decode(file: io.BytesIO | io.BufferedReader, name: str, pixels: int, header_only: bool) -> Image.Image:
    try:
        with Image.open(file, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > pixels:
                raise RowFault(
                    "bomb", f"{name} has {width} x {height} pixels, more than {pixels:,}; scale it down"
                )
            if header_only:
                return picture
            if picture.mode == "RGB":
                picture.load()
                return picture  # `convert` would copy it
            if picture.mode == "P" and "transparency" in picture.info:
                picture.load()
                return picture.convert("RGBA").convert("RGB")  # straight to RGB Pillow warns
            return picture.convert("RGB")
    except RowFault:
        raise
    except _BOMBS as error:
        raise RowFault("bomb", f"{name} is too large to be decoded ({error}); scale it down") from error
    except UnidentifiedImageError as error:
        raise RowFault("broken", f"{name} is no image in {', '.join(FORMATS)}; convert it") from error
    except _GARBLED as error:
        raise RowFault("broken", f"{name} cannot be decoded ({error}); fetch it anew") from error
