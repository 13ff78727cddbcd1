"""What an earlier layer looked at."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Router, Selection, View
from gazekit.route._select import check_count


@dataclass(frozen=True, kw_only=True)
class ReuseRouter:
    """Routes in every `every`-th layer and looks at the same regions in the layers between.

    Neighbouring layers choose much alike, and the layers between score nothing. Layers 0, `every`, twice `every`
    and so on route; each other layer takes what the latest of these chose.

    Args:
        inner: Chooses in the layers that route.
        every: Layers that look at the same, at least 2.

    Raises:
        ValueError: `every` is below 2.
    """

    inner: Router
    every: int

    def __post_init__(self) -> None:
        check_count("every", self.every, 2)

    def __call__(self, scores: Float[Tensor, "batch head row region"] | None, view: View) -> Selection | None:
        """The inner router's regions, or an earlier layer's; None at openness 1.

        Raises:
            ValueError: The earlier layer has other regions, or does not route.
        """
        if view.openness >= 1:
            return None
        source = view.layer - view.layer % self.every
        if source == view.layer:
            return self.inner(scores, view)
        if source not in view.earlier:
            raise ValueError(
                f"ReuseRouter in layer {view.layer} reuses what layer {source} chose, but that layer has chosen "
                f"nothing among the same regions; give layers {source} to {view.layer} the same partition, rows "
                "and visual scope, and a router to each"
            )
        return view.earlier[source]
