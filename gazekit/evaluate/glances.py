"""What a batch looked at while it generated, laid out by step, layer and head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gazekit.gaze import GazeTrace


@dataclass(frozen=True)
class Looked:
    """One row for each step: the query that writes the step's token.

    Attributes:
        layers: Decoder layers, ascending.
        attended: Entries that the query attends, by kind (visual, context, text); branches add up.
        routing: Places in `layers` of those that chose regions.
        index: What they chose, -1 = empty.
        mass: Share of the query's attention, were it dense, that falls on each region that could be chosen; None
            unless the trace recorded it.
    """

    layers: tuple[int, ...]
    attended: Int[Tensor, "batch step layer head 3"]
    routing: tuple[int, ...]
    index: Int[Tensor, "batch step routing head slot"]
    mass: Float[Tensor, "batch step routing head region"] | None = None


def looked(trace: GazeTrace, first: int) -> Looked | None:
    """The glances of a trace from sequence index `first` on; None where nothing was recorded there.

    Args:
        trace: What `watch` recorded of `generate()`, of prompts padded on the left to one length.
        first: Index of the prompt's last token, whose query writes the first new one.
    """
    entries: dict[tuple[int, int], Tensor] = {}
    chosen: dict[tuple[int, int], Tensor] = {}
    masses: dict[tuple[int, int], Tensor] = {}
    for glance in trace.glances:
        for position in glance.position[glance.position >= first].unique().tolist():
            row = (glance.position == position).int().argmax(1)
            at, place = (position - first, glance.layer), row[:, None, None, None]
            attended = _row(glance.attended, place)
            entries[at] = entries[at] + attended if at in entries else attended
            if glance.index is not None:
                chosen[at] = _row(glance.index, place)
            if glance.mass is not None:
                masses[at] = _row(glance.mass, place)
    if not entries:
        return None
    steps, layers = (sorted({at[axis] for at in entries}) for axis in (0, 1))
    routing = sorted({layer for _, layer in chosen})
    mass = _stack(masses, steps, routing, 0.0) if masses else None
    return Looked(
        layers=tuple(layers),
        attended=_stack(entries, steps, layers, 0),
        routing=tuple(layers.index(layer) for layer in routing),
        index=_stack(chosen, steps, routing, -1)
        if chosen
        else torch.full((*attended.shape[:1], len(steps), 0, attended.shape[1], 0), -1, dtype=torch.int32),
        mass=mass,
    )


def _row(field: Tensor, place: Tensor) -> Tensor:
    """One row of each sample, `[batch head last]`."""
    return field.gather(2, place.expand(-1, field.shape[1], 1, field.shape[3]))[:, :, 0]


def _stack(found: dict[tuple[int, int], Tensor], steps: list[int], layers: list[int], blank: float) -> Tensor:
    """`[batch step layer head last]`, as wide as the widest; `blank` where a layer recorded nothing."""
    width = max(one.shape[-1] for one in found.values())
    some = next(iter(found.values()))
    empty = torch.full((*some.shape[:-1], width), blank, dtype=some.dtype)
    rows = [
        [
            torch.nn.functional.pad(found[at], (0, width - found[at].shape[-1]), value=blank)
            if at in found
            else empty
            for at in ((step, layer) for layer in layers)
        ]
        for step in steps
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
