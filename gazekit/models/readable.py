"""Files of weights that are cut or garbled, told as what they are."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError


@contextmanager
def readable(place: str | os.PathLike, *also: type[Exception]) -> Iterator[None]:
    """What reads weights stands in here: a file of them that is cut becomes an error that says where it lies.

    Args:
        place: File or folder of the weights, or their name on the hub.
        *also: What else the reader raises on such a file.

    Raises:
        ValueError: A file is cut or garbled.
    """
    expected: tuple[type[Exception], ...] = (SafetensorError, pickle.UnpicklingError, EOFError, *also)
    try:
        yield
    except expected as error:
        said = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the weights in {place} are cut or garbled ({said}); save or fetch them anew"
        ) from error
