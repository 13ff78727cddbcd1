"""Pictures drawn over an image: its regions, scores or weights as heat, what was chosen, how routing closes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from gazekit.contracts import Schedule
from gazekit.view._plot import ACCENT, INK, WARM, pyplot, save_small
from gazekit.view.field import Field

_DPI = 130
_WIDTH = 6.6
_DARK = 0.28


def save_regions(path: str | Path, field: Field, *, title: str = "", numbers: bool = True) -> None:
    """Draws the borders of all regions over the image.

    Args:
        path: PNG to write.
        field: The image and its regions.
        title: Title.
        numbers: Whether to write each region's id at its centre.
    """
    figure, (axes,) = _panels(field, [""], 1, width=0.75 * _WIDTH)
    axes.imshow(_photo(field))
    _outline(axes, field, field.owner, "white", 0.9)
    for region in field.regions if numbers else []:
        y, x = (np.argwhere(field.owner == region).mean(axis=0) + 0.5).tolist()
        rows, columns = field.owner.shape
        spot = (x * field.image.width / columns, y * field.image.height / rows)
        box = {"boxstyle": "round,pad=0.15", "facecolor": INK, "alpha": 0.55, "linewidth": 0}
        axes.annotate(str(region), spot, color="white", fontsize=7, ha="center", va="center", bbox=box)
    _finish(figure, title, path)


def save_maps(
    path: str | Path,
    field: Field,
    maps: Mapping[str, Float[np.ndarray, "row column"]],
    *,
    label: str,
    title: str = "",
    columns: int = 2,
) -> None:
    """Draws values of tokens as heat over the image, one panel for each map, all on one scale.

    `Field.spread` makes a map of the values of regions.

    Args:
        path: PNG to write.
        field: The image and its regions.
        maps: Values of each token by the panel's title; NaN is left grey.
        label: Name and unit of the values.
        title: Title.
        columns: Panels side by side.

    Raises:
        ValueError: There is no map, or `columns` is below 1.
    """
    figure, panels = _panels(field, list(maps), columns)
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    finite = np.concatenate([values[np.isfinite(values)] for values in maps.values()])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    heat = ScalarMappable(Normalize(low, high), "viridis")
    relief = 0.55 + 0.6 * (_photo(field).mean(axis=-1, keepdims=True) - 0.5)
    for axes, values in zip(panels, maps.values(), strict=True):
        spread = field.pixels(values)
        colours = np.where(np.isnan(spread)[..., None], 0.8, heat.to_rgba(spread)[..., :3])
        axes.imshow(np.clip(relief * (colours + 0.2), 0, 1))
    bar = figure.colorbar(heat, ax=panels, fraction=0.03, pad=0.015)
    bar.set_label(label, fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    bar.outline.set_visible(False)
    _finish(figure, title, path, heat=True)


def save_selection(
    path: str | Path,
    field: Field,
    chosen: Mapping[str, Bool[Tensor, " region"]],
    *,
    title: str = "",
    columns: int = 3,
) -> None:
    """Draws the image once for each choice, dark but for the chosen regions, which are framed.

    Args:
        path: PNG to write.
        field: The image and its regions.
        chosen: True = looked at, for all regions of the sample, by the panel's title.
        title: Title.
        columns: Panels side by side.

    Raises:
        ValueError: There is no choice, or `columns` is below 1.
    """
    figure, panels = _panels(field, list(chosen), columns)
    for axes, regions in zip(panels, chosen.values(), strict=True):
        _draw_choice(axes, field, regions)
    _finish(figure, title, path)


def save_schedule(
    path: str | Path,
    field: Field,
    schedule: Schedule,
    chosen: Mapping[float, Bool[Tensor, " region"]],
    *,
    title: str = "",
) -> None:
    """Draws a schedule's openness over training, and below it what was looked at at some points on the way.

    Args:
        path: PNG to write.
        field: The image and its regions.
        schedule: From progress to openness.
        chosen: True = looked at, for all regions of the sample, by progress in [0, 1].
        title: Title.

    Raises:
        ValueError: There is no point to show.
    """
    if not chosen:
        raise ValueError(
            "chosen must hold at least one point of training, got none; give {progress: regions}"
        )
    plt, count = pyplot(), len(chosen)
    cell = _height(field, count, _WIDTH)
    figure = plt.figure(figsize=(_WIDTH, 1.9 + cell), dpi=_DPI, layout="constrained")
    grid = figure.add_gridspec(2, count, height_ratios=(1.9, cell))
    curve = figure.add_subplot(grid[0, :])
    progress = np.linspace(0, 1, 401)
    curve.plot(progress, [schedule(at) for at in progress.tolist()], color=ACCENT, linewidth=1.6)
    curve.plot(list(chosen), [schedule(at) for at in chosen], "o", color=WARM, markersize=5)
    curve.set(xlim=(-0.01, 1.01), ylim=(-0.04, 1.1))
    curve.set_xlabel("progress of training", fontsize=8, color=INK)
    curve.set_ylabel("openness", fontsize=8, color=INK)
    curve.tick_params(labelsize=7, colors=INK)
    curve.spines[["top", "right"]].set_visible(False)
    for number, (at, regions) in enumerate(chosen.items()):
        axes = figure.add_subplot(grid[1, number])
        _draw_choice(axes, field, regions)
        axes.set_title(f"at {at:g}: {int(regions.sum())} regions", fontsize=8, color=INK)
    _finish(figure, title, path)


def _panels(field: Field, titles: list[str], columns: int, width: float = _WIDTH) -> tuple[Any, list[Any]]:
    """A figure with one titled panel of the image's shape for each title, and nothing in its other cells."""
    if not titles:
        raise ValueError("a picture must show at least one panel, got none; give {title: values}")
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}; it counts panels side by side")
    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    height = rows * _height(field, columns, width)
    figure, grid = pyplot().subplots(
        rows, columns, figsize=(width, height), dpi=_DPI, squeeze=False, layout="constrained"
    )
    panels = list(grid.flat)
    for axes in panels[len(titles) :]:
        axes.axis("off")
    for axes, title in zip(panels, titles, strict=False):
        axes.set_title(title, fontsize=8.5, color=INK)
    return figure, panels[: len(titles)]


def _height(field: Field, columns: int, width: float) -> float:
    """Inches that a panel and its title take when so many stand side by side."""
    return width / columns * field.image.height / field.image.width + 0.25


def _photo(field: Field) -> Float[np.ndarray, "height width 3"]:
    return np.asarray(field.image.convert("RGB"), dtype=float) / 255


def _draw_choice(axes: Any, field: Field, chosen: Bool[Tensor, " region"]) -> None:
    """The image, dark and grey but for the chosen regions; each is framed."""
    inside = field.within(chosen)
    photo = _photo(field)
    night = _DARK * photo.mean(axis=-1, keepdims=True)
    axes.imshow(np.where(field.pixels(inside)[..., None], photo, night))
    _outline(axes, field, np.where(inside, field.owner, -1), WARM, 1.1, frame=False)


def _outline(
    axes: Any, field: Field, labels: np.ndarray, colour: str, width: float, frame: bool = True
) -> None:
    """Lines between tokens of different labels."""
    from matplotlib.collections import LineCollection

    lines = LineCollection(list(field.borders(labels, frame=frame)), colors=colour, linewidths=width)
    lines.set_capstyle("projecting")
    axes.add_collection(lines)


def _finish(figure: Any, title: str, path: str | Path, heat: bool = False) -> None:
    """Titles the figure, takes the axes off panels with a picture, and writes it."""
    if title:
        figure.suptitle(title, fontsize=9.5, color=INK)
    for axes in figure.axes:
        if axes.images:
            axes.axis("off")
    save_small(figure, path, heat=heat)
