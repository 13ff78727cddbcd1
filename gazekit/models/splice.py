"""Puts units' embeddings where their placeholders stand, and reads them back."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts import Kind, TokenLayout


def units_in(layout: TokenLayout, start: int, stop: int) -> Bool[Tensor, "batch unit"]:
    """True = a visual token of the unit lies in the window `[start, stop)`: its embeddings are needed there."""
    unit = layout.tokens.unit[:, 0]
    seen = torch.zeros(
        unit.shape[0], int(unit.max()) + 2 if unit.numel() else 1, dtype=torch.bool, device=unit.device
    )
    window = slice(start, stop)
    visual = layout.kind[:, window] == Kind.VISUAL
    return seen.scatter_(1, torch.where(visual, unit[:, window], seen.shape[1] - 1), True)[:, :-1]


def check_units(
    layout: TokenLayout, given: Tensor | None, clip_lengths: Int[Tensor, "batch clip"] | None, start: int
) -> None:
    """Images and placeholders must match, in every sample.

    Args:
        layout: The prompt.
        given: Pixels or embeddings of its units `[batch unit ...]`.
        clip_lengths: Says which of them are padding; None = none is.
        start: First token that is still to be embedded; nothing is needed for units before it.

    Raises:
        ValueError: Some sample has more placeholders than images or frames, or fewer; it is named.
    """
    units = layout.tokens.unit[:, 0]
    found = (units.amax(-1) + 1).tolist() if layout.length else [0] * len(units)
    if given is None:
        needed = units_in(layout, start, layout.length).sum(-1).tolist()
        for sample, count in enumerate(needed):
            if count:
                raise ValueError(
                    f"sample {sample} has placeholders for {count} images or frames, but no pixel_values were given; "
                    "pass what CambrianProcessor returned"
                )
        return
    slots = given.shape[1]
    real = [slots] * len(found) if clip_lengths is None else clip_lengths.sum(-1).tolist()
    for sample, (marks, images) in enumerate(zip(found, real, strict=True)):
        if marks != images or marks > slots:
            raise ValueError(
                f"sample {sample} has placeholders for {marks} images or frames, but pixel_values holds "
                f"{min(images, slots)}; give the prompt one placeholder for each image"
            )
    if slots != max(found, default=0):
        raise ValueError(
            f"pixel_values must be padded to the {max(found, default=0)} units of the fullest sample, got {slots}"
        )


def splice(
    embeds: Float[Tensor, "batch window width"],
    layout: TokenLayout,
    *,
    start: int,
    columns: int,
    visual: Float[Tensor, "batch unit visual width"] | None,
    context: Float[Tensor, "slot width"] | None,
) -> Float[Tensor, "batch window width"]:
    """The embeddings of the tokens `[start, start + window)`, with those of units in place of their placeholders.

    Args:
        embeds: Embeddings of the window's ids; what stands at placeholders does not matter.
        layout: The prompt; tokens past its end are text.
        start: Place of the window in the prompt.
        columns: Columns of a unit's grid.
        visual: Embeddings of every unit of the prompt, row by row; units outside the window are not read.
        context: The learned context tokens of a unit.
    """
    window = slice(start, start + embeds.shape[1])
    kind = layout.kind[:, window]
    sample, token = (kind == Kind.VISUAL).nonzero(as_tuple=True)
    if len(sample):
        assert visual is not None
        unit, slot = _address(layout, window, columns)
        chosen = visual[sample, unit[sample, token], slot[sample, token]]
        embeds = embeds.index_put((sample, token), chosen.to(embeds.dtype))
    sample, token = (kind == Kind.CONTEXT).nonzero(as_tuple=True)
    if len(sample):
        assert context is not None
        rank = (layout.kind == Kind.CONTEXT).long().cumsum(-1)[:, window] - 1
        embeds = embeds.index_put(
            (sample, token), context[rank[sample, token] % len(context)].to(embeds.dtype)
        )
    return embeds


def extract(
    embeds: Float[Tensor, "batch token width"], layout: TokenLayout, *, columns: int, num_visual: int
) -> Float[Tensor, "batch unit visual width"]:
    """What stands at the visual tokens of a whole prompt, by unit; zeros where a sample has fewer units."""
    sample, token = (layout.kind == Kind.VISUAL).nonzero(as_tuple=True)
    unit, slot = _address(layout, slice(0, layout.length), columns)
    count = int(layout.tokens.unit.max()) + 1 if layout.length else 0
    out = embeds.new_zeros(embeds.shape[0], count, num_visual, embeds.shape[-1])
    return out.index_put((sample, unit[sample, token], slot[sample, token]), embeds[sample, token])


def _address(
    layout: TokenLayout, window: slice, columns: int
) -> tuple[Int[Tensor, "batch window"], Int[Tensor, "batch window"]]:
    """The unit of each visual token and its place within the unit, row by row."""
    place = layout.place[:, window]
    return layout.tokens.unit[:, 0, window], place[..., 1] * columns + place[..., 2]
