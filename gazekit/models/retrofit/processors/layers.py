"""Subclasses of stock processors that are, by their name, the stock class."""

from __future__ import annotations

import functools
from typing import Any

from transformers import ProcessorMixin


def layered(kind: type[ProcessorMixin], layer: type) -> type[ProcessorMixin]:
    """A processor class with a mixin laid before it.

    It bears the name of the stock class, which is what is saved as `processor_class` and what `AutoProcessor` looks
    for. Its instances can be pickled, as loaders with worker processes need.

    Args:
        kind: A stock class, or one that has layers already.
        layer: The mixin; one that is there already is not laid again.
    """
    found: Any = getattr(kind, "gaze_layers", (kind, ()))
    stock, layers = found
    return kind if layer in layers else _made(stock, (layer, *layers))


@functools.cache
def _made(stock: Any, layers: tuple[type, ...]) -> type[ProcessorMixin]:
    names = {
        "__module__": stock.__module__,
        "__doc__": stock.__doc__,
        "__reduce__": _reduce,
        "gaze_layers": (stock, layers),
    }
    return type(stock.__name__, (*layers, stock), names)


def _reduce(self: Any) -> tuple[Any, ...]:
    return _blank, type(self).gaze_layers, self.__dict__


def _blank(stock: Any, layers: tuple[type, ...]) -> ProcessorMixin:
    """An instance that has nothing yet; what unpickling fills."""
    kind: Any = _made(stock, layers)
    return object.__new__(kind)
