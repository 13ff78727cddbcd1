"""Pictures as PNG: curves of a training run, and where a model looked word by word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gazekit.view._plot import ACCENT, INK, MUTED, WARM, pyplot
from gazekit.view.examples import Example


def save_curves(
    path: str | Path,
    curves: Mapping[str, Sequence[tuple[int, float]]],
    *,
    title: str,
    ylabel: str,
    xlabel: str = "step",
    log: bool = False,
    marks: Mapping[str, int] | None = None,
) -> None:
    """Draws named curves over training steps, or over whatever `xlabel` says.

    Args:
        path: PNG to write.
        curves: Points (step, value) by name.
        title: Title.
        ylabel: Name and unit of the values.
        xlabel: What the points are numbered by.
        log: Logarithmic axes, with a dot at each point.
        marks: Steps to mark with a dotted line, by label.
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.4, 3.2), dpi=140)
    for (name, points), colour in zip(curves.items(), (WARM, ACCENT, "#2b8a3e", INK), strict=False):
        steps, values = zip(*points, strict=True) if points else ((), ())
        axes.plot(
            steps, values, label=name, color=colour, linewidth=1.4, marker="o" if log else None, markersize=3
        )
    for label, step in (marks or {}).items():
        axes.axvline(step, color=MUTED, linestyle=":", linewidth=1)
        axes.annotate(
            label, (step, 0.97), xycoords=("data", "axes fraction"), fontsize=7, color=MUTED, va="top"
        )
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    if log:
        axes.set(xscale="log", yscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def save_glances(path: str | Path, examples: Sequence[Example], *, head: tuple[int, int], title: str) -> None:
    """Draws one row for each example: the image, then once more for each word with what a head looked at.

    Args:
        path: PNG to write.
        examples: What to draw.
        head: Layer (among those traced) and head whose regions are framed; what all heads chose is left bright.
        title: Title.
    """
    plt = pyplot()
    words = max(len(example.said) for example in examples)
    tallest = max(example.image.height / example.image.width for example in examples)
    size = (1.55 * (words + 1), (1.55 * tallest + 0.3) * len(examples))
    figure, axes = plt.subplots(len(examples), words + 1, figsize=size, dpi=130, squeeze=False)
    for row, example in zip(axes, examples, strict=True):
        for cell in row:
            cell.axis("off")
        row[0].imshow(example.image)
        row[0].set_title(example.question, fontsize=7, color=INK)
        for word, cell in enumerate(row[1 : 1 + len(example.said)]):
            _draw_glance(cell, example, word, head)
    if title:
        figure.suptitle(title, fontsize=9, color=INK)
    figure.tight_layout(rect=(0, 0, 1, 0.98) if title else None)
    figure.savefig(path)
    plt.close(figure)


def _draw_glance(axes: Any, example: Example, word: int, head: tuple[int, int]) -> None:
    """The image darkened where few heads looked, with the regions of one head framed."""
    from matplotlib.patches import Rectangle

    pixels = np.asarray(example.image.convert("RGB"), dtype=float) / 255
    height, width = pixels.shape[:2]
    rows, columns = example.grid
    light = np.full((height, width), 0.25)
    share = example.chosen_share(word)
    for region, (_, (y0, y1), (x0, x1)) in enumerate(example.box.tolist()):
        across = slice(x0 * width // columns, x1 * width // columns)
        light[y0 * height // rows : y1 * height // rows, across] += 0.75 * min(1.0, 2 * share[region])
    axes.imshow(np.clip(pixels * light[..., None], 0, 1))
    for region in example.glances[word, head[0], head[1]].tolist():
        if region >= 0:
            _, (y0, y1), (x0, x1) = example.box[region].tolist()
            corner = (x0 * width / columns - 0.5, y0 * height / rows - 0.5)
            size = ((x1 - x0) * width / columns, (y1 - y0) * height / rows)
            axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=WARM, linewidth=1.6))
    right = example.said[word] == example.expected[word]
    axes.set_title(example.said[word] or "(end)", fontsize=9, color=INK if right else WARM)
