"""What the paper and its project page report, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

MME_TO_COLUMN = 1 / 20
"""MME's points as the project page averages them."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One row of the paper's tables.

    Attributes:
        table: Which: 13 image benchmarks in 14 columns, or 6 video benchmarks.
        model: What was evaluated.
        method: What reduces its visual entries; None: nothing.
        entries: Visual entries that each query attends to, as printed ("288+4": 288 routed, 4 context tokens; "20K").
        source: `paper`: measured by its authors. `literature`: published by others before, quoted there.
        scores: By column, the `title` of a `Benchmark`: per cent, MME in points of perception.
        paper_average: The average in the paper's table, whose formula is not known; None where there is none.
        page_average: The average on the project page: `average`, to one place; None where there is none.
        change: Points above the model without the method, as the paper prints them; None where there are none.
    """

    table: Literal["image", "video"]
    model: str
    method: str | None
    entries: str | None
    source: Literal["paper", "literature"]
    scores: Mapping[str, float]
    paper_average: float | None
    page_average: float | None
    change: float | None

    @property
    def average(self) -> float | None:
        """The plain mean of the columns, MME divided by 20; None if a column is missing."""
        if len(self.scores) < len(_tables()[self.table]["columns"]):
            return None
        columns = [score * MME_TO_COLUMN if name == "MME" else score for name, score in self.scores.items()]
        return sum(columns) / len(columns)


def published(table: str | None = None) -> tuple[Published, ...]:
    """The rows of the paper's tables, in their order.

    The two averages of the image table differ in sign at two places: at 72+4 entries the paper has gaze 0.5 below
    dense attention, the page 0.7 above; with token compression at 36+4, 0.1 below and 0.5 above. Quote both.

    Example:
        >>> dense, *_, sparse, _, _, _ = (row for row in published("image") if row.model.startswith("Cambrian-4B"))
        >>> dense.entries, dense.scores["GQA"], sparse.entries, sparse.scores["GQA"]
        ('576', 56.4, '72+4', 57.8)

    Args:
        table: One of them alone, `image` or `video`.

    Raises:
        ValueError: There is no such table.
    """
    if table is not None and table not in _tables():
        raise ValueError(f"table must be one of {tuple(_tables())}, got {table!r}; use None for all rows")
    names = list(_tables()) if table is None else [table]
    return tuple(_row(name, row) for name in names for row in _tables()[name]["rows"])


def _row(table: Any, row: Mapping[str, Any]) -> Published:
    """A row of the file."""
    scores = zip(_tables()[table]["columns"], row["scores"], strict=True)
    return Published(
        table=table,
        model=row["model"],
        method=row.get("method"),
        entries=row["entries"],
        source=row["source"],
        scores={name: float(score) for name, score in scores if score is not None},
        paper_average=row.get("paper"),
        page_average=row.get("page"),
        change=row.get("change"),
    )


@cache
def _tables() -> dict[str, Any]:
    """The file, as it stands."""
    return yaml.safe_load(
        (resources.files("gazekit.evaluate") / "published.yaml").read_text(encoding="utf-8")
    )
