"""What all pictures share: colours, and matplotlib drawing to files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

INK, MUTED, ACCENT, WARM = "#1f2933", "#9aa5b1", "#2457a8", "#d9480f"

_COLOURS = 256


def pyplot() -> Any:
    """matplotlib drawing to files.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pictures need matplotlib; install gazekit[demo]") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save_small(figure: Any, path: str | Path, *, heat: bool = False) -> None:
    """Writes a figure as a PNG of 256 colours, a third of the size where it shows photographs, and closes it.

    Args:
        figure: The figure.
        path: PNG to write.
        heat: Whether a scale of colours matters more than the tones of a photograph.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    pyplot().close(figure)
    # A median cut gives most colours to what covers most pixels; the bar of a scale is few pixels of many colours.
    method = Image.Quantize.MAXCOVERAGE if heat else Image.Quantize.MEDIANCUT
    with Image.open(buffer) as drawn:
        few = drawn.convert("RGB").quantize(_COLOURS, method=method, dither=Image.Dither.NONE)
    few.save(path, format="PNG", optimize=True)
