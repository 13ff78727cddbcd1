"""Pictures of keys in a row: which of them a query sees, and where a store keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped
from torch import Tensor

from gazekit.contracts import Entries, Kind, Tokens
from gazekit.view._plot import ACCENT, INK, MUTED, WARM, pyplot, save_small

_DPI = 130
_WIDTH = 7.0
_KINDS = {Kind.VISUAL: ("visual", ACCENT), Kind.CONTEXT: ("context", "#2b8a3e"), Kind.TEXT: ("text", INK)}
_UNSEEN = "#e9edf1"
_TWO_BLUES = ("#8fb0dd", "#c3d4ec")


def save_visible(
    path: str | Path,
    visible: Mapping[str, Bool[Tensor, " key"]],
    keys: Tokens,
    *,
    sample: int = 0,
    title: str = "",
) -> None:
    """Draws which keys some queries see, a line each, with the number of keys at its end.

    Keys stand in their order, apart by kind; the few of context and text are drawn wider than those of an image.

    Args:
        path: PNG to write.
        visible: True = seen, by the query's name: rows of what `gazekit.contracts.visible` gives.
        keys: What the keys are.
        sample: Which sample of the batch.
        title: Title.

    Raises:
        ValueError: There is no query.
    """
    if not visible:
        raise ValueError("visible must hold at least one query, got none; give {name: keys seen}")
    kind = keys.kind[sample, 0].cpu().numpy()
    seen = np.stack([row.cpu().numpy() for row in visible.values()])
    shown = {which: kind == which for which in _KINDS if (kind == which).any()}
    widths = [1.0 if which == Kind.VISUAL else 0.09 for which in shown]
    figure, grid = pyplot().subplots(
        1, len(shown), figsize=(_WIDTH, 0.55 + 0.27 * len(seen)), dpi=_DPI, squeeze=False,
        width_ratios=widths, layout="constrained",
    )  # fmt: skip
    for axes, (which, members) in zip(grid[0], shown.items(), strict=True):
        name, colour = _KINDS[which]
        _lines(axes, seen[:, members], colour)
        axes.set_title(f"{int(members.sum())} {name}", fontsize=8, color=colour)
    grid[0, 0].set_yticks(range(len(seen)), list(visible), fontsize=8, color=INK)
    counts = grid[0, -1].secondary_yaxis("right")
    counts.set_yticks(range(len(seen)), [str(int(row.sum())) for row in seen], fontsize=8, color=INK)
    counts.tick_params(length=0)
    counts.spines["right"].set_visible(False)
    _write(figure, title, path)


def _lines(axes: Any, seen: Bool[np.ndarray, "query key"], colour: str) -> None:
    """A line for each query, in colour where it sees a key."""
    for line, keys in enumerate(seen):
        for begin, length in _runs(keys):
            fill = colour if keys[begin] else _UNSEEN
            axes.broken_barh([(begin, length)], (line - 0.38, 0.76), facecolor=fill, linewidth=0)
    axes.set(xlim=(0, seen.shape[1]), ylim=(len(seen) - 0.5, -0.5))
    _bare(axes)


def save_entries(
    path: str | Path,
    entries: Mapping[str, Entries],
    *,
    chosen: Bool[Tensor, " region"] | None = None,
    sample: int = 0,
    kv_head: int = 0,
    title: str = "",
) -> None:
    """Draws what lies where in a KV cache, a strip for each moment: regions in two blues by turns.

    A place that is set aside for a member still to come is white; context is green, text dark.

    Args:
        path: PNG to write.
        entries: What is stored, place by place, by the moment's name: what `Store.entries` gave.
        chosen: True = the region is marked, out of all regions of the sample; None marks nothing.
        sample: Which sample of the batch.
        kv_head: Which KV head, where they hold different entries.
        title: Title.

    Raises:
        ValueError: There is no moment.
    """
    if not entries:
        raise ValueError("entries must hold at least one moment, got none; give {moment: entries}")
    marked = np.append(np.zeros(0, bool) if chosen is None else chosen.cpu().numpy(), False)
    figure, grid = pyplot().subplots(
        len(entries), 1, figsize=(_WIDTH, 0.3 + 0.62 * len(entries)), dpi=_DPI, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    longest = max(one.key.shape[2] for one in entries.values())
    for axes, (name, one) in zip(grid[:, 0], entries.items(), strict=True):
        strip = _strip(one.tokens, sample, min(kv_head, one.tokens.kind.shape[1] - 1), marked)
        for begin, length in _runs(strip):
            axes.broken_barh([(begin, length)], (0, 1), facecolor=strip[begin], linewidth=0)
        axes.set(xlim=(0, longest), ylim=(0, 1))
        _bare(axes)
        axes.add_patch(_frame(len(strip)))
        axes.set_title(name, fontsize=8, color=INK, loc="left", pad=3)
    _write(figure, title, path)


def _strip(
    tokens: Tokens, sample: int, head: int, marked: Bool[np.ndarray, " region_or_none"]
) -> Shaped[np.ndarray, " place"]:
    """The colour of each place."""
    kind, owner = (field[sample, head].cpu().numpy() for field in (tokens.kind, tokens.owner))
    colours = np.full(len(kind), "#ffffff")
    for which, (_, colour) in _KINDS.items():
        colours[kind == which] = colour
    for turn, colour in enumerate(_TWO_BLUES):
        colours[(owner >= 0) & (owner % 2 == turn) & (kind != Kind.PAD)] = colour
    inside = np.where(owner < len(marked) - 1, owner, -1)
    colours[marked[inside] & (kind != Kind.PAD)] = WARM
    return colours


def _runs(values: Shaped[np.ndarray, " place"]) -> list[tuple[int, int]]:
    """Where runs of equal values begin, and how long they are."""
    begins = [0, *(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()]
    return [(begin, end - begin) for begin, end in pairwise([*begins, len(values)])]


def _bare(axes: Any) -> None:
    """Neither ticks nor spines."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _frame(length: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((0, 0), length, 1, fill=False, edgecolor=MUTED, linewidth=0.8, clip_on=False)


def _write(figure: Any, title: str, path: str | Path) -> None:
    if title:
        figure.suptitle(title, fontsize=9.5, color=INK)
    save_small(figure, path)
