"""Maps written into a layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Kind, TokenLayout


def with_prior(
    layout: TokenLayout, maps: Mapping[tuple[int, int], Float[Tensor, "row column"]]
) -> TokenLayout:
    """The layout with the value of an outside map at every visual token.

    Args:
        layout: The prompt.
        maps: A map for each `(sample, unit)`, units counted within the sample as in `layout.tokens.unit`; on the
            unit's own visual grid, any scale. Tokens of units without a map, and all others, get 0.

    Raises:
        ValueError: A map belongs to no unit, or has not as many rows and columns as the unit's visual tokens.
    """
    unit, visual = layout.tokens.unit[:, 0], layout.kind == Kind.VISUAL
    prior = torch.zeros(layout.kind.shape, dtype=torch.float32, device=layout.kind.device)
    for (sample, number), values in maps.items():
        own = visual[sample] & (unit[sample] == number) if sample < len(unit) else visual.new_zeros(0)
        if not bool(own.any()):
            raise ValueError(
                f"maps must be of units that the layout has, got unit {number} of sample {sample}"
            )
        _, rows, columns = (layout.place[sample, own].amax(dim=0) + 1).tolist()
        if list(values.shape) != [rows, columns]:
            raise ValueError(
                f"the map of unit {number} of sample {sample} must have {rows} rows and {columns} columns of visual "
                f"tokens, got {list(values.shape)}; ask for grid=({rows}, {columns})"
            )
        y, x = layout.place[sample, own, 1], layout.place[sample, own, 2]
        prior[sample, own] = values.to(prior)[y, x]
    return replace(layout, prior=prior)
