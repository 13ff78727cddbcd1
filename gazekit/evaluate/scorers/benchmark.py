"""What is known of a benchmark besides its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gazekit.evaluate.scorers.means import Row
from gazekit.evaluate.scorers.verdict import Doc, Judge

Figures = Callable[[Sequence[Row]], Mapping[str, float]]
"""From scored records to figures by name."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """How one benchmark is scored, in both profiles.

    Attributes:
        title: Its column in the paper's tables; two tasks may share one.
        truth: The right answer out of a doc, in the form of lmms-eval's `doc_to_target`.
        lmms: Judges as lmms-eval 0.7.3 does.
        cambrian: Judges as Cambrian's scripts do.
        lmms_figures: Figures of scored records, by lmms-eval's names.
        cambrian_figures: Likewise; the same names where the same thing is meant.
        metric: The figure that stands in tables, by its name in lmms-eval.
        to_column: What to multiply that figure by to have the paper's column (per cent; MME: points).
        judged: lmms-eval asks a language model where its rules end. Nobody does here, so all figures end in `_rule`.
    """

    title: str
    truth: Callable[[Doc], Any]
    lmms: Judge
    cambrian: Judge
    lmms_figures: Figures
    cambrian_figures: Figures
    metric: str
    to_column: float = 100.0
    judged: bool = False

    @property
    def headline(self) -> str:
        """The key of `aggregate`'s answer that stands in tables."""
        return f"{self.metric}_rule" if self.judged else self.metric
