"""From a prompt's ids to its layout: the one place that counts visual tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from gazekit.contracts import Kind, TokenLayout, Tokens


@dataclass(frozen=True)
class UnitForm:
    """How one unit (an image or a video frame) stands in a prompt: its visual tokens, then its context tokens.

    Attributes:
        rows: Rows of visual tokens.
        columns: Columns of visual tokens.
        num_context: Context tokens.
        visual_ids: Ids of visual placeholders (of images, of frames).
        context_id: Id of a context placeholder.
    """

    rows: int
    columns: int
    num_context: int
    visual_ids: tuple[int, ...]
    context_id: int

    @property
    def num_visual(self) -> int:
        """Visual tokens of a unit."""
        return self.rows * self.columns


def layout_from_ids(
    input_ids: Int[Tensor, "batch token"],
    form: UnitForm,
    *,
    attention_mask: Tensor | None = None,
    clip_lengths: Int[Tensor, "batch clip"] | None = None,
    document_ids: Int[Tensor, "batch token"] | None = None,
) -> TokenLayout:
    """Where every token of a prompt lies, read off its placeholders.

    Args:
        input_ids: The whole prompt; every unit is a run of placeholders.
        form: What such a run looks like.
        attention_mask: True or 1 = real, False or 0 = padding, on either side; None = all real.
        clip_lengths: Units of each image (1) or video (its frames) in the order of the prompt, 0 = padding;
            None = every unit is an image.
        document_ids: The packed document of each token, from 0 upwards along a sample; padding's is not read. None =
            one document a sample.

    Raises:
        ValueError: A sample's runs are broken, or do not match its images and frames; the message names both counts.
            Or documents do not follow one another, or part an image.
    """
    valid = torch.ones_like(input_ids, dtype=torch.bool)
    if attention_mask is not None:
        if attention_mask.shape != input_ids.shape:
            raise ValueError(
                f"attention_mask must have the shape of input_ids {tuple(input_ids.shape)}, got "
                f"{tuple(attention_mask.shape)}; pass the whole prompt, or declare it by gaze_layout"
            )
        valid = attention_mask.bool()
    visual = torch.isin(input_ids, torch.tensor(form.visual_ids, device=input_ids.device)) & valid
    context = (input_ids == form.context_id) & valid
    _check_runs(visual, context, form)
    clip_lengths = _clips(visual, form, clip_lengths)
    unit, place, clip = _places(visual, form, clip_lengths)
    if form.num_context:
        own = torch.div(context.long().cumsum(-1) - 1, form.num_context, rounding_mode="floor")
        unit = torch.where(context, own, unit)
        clip = torch.where(context, _clip_of_unit(own, clip_lengths), clip)
    document, order = _documents(valid, clip, document_ids)
    kind = torch.where(visual, Kind.VISUAL, torch.where(context, Kind.CONTEXT, Kind.TEXT))
    tokens = Tokens(
        kind=kind.masked_fill(~valid, Kind.PAD).unsqueeze(1),
        unit=unit.unsqueeze(1),
        document=document.unsqueeze(1),
        order=order.unsqueeze(1),
        owner=torch.full_like(input_ids, -1).unsqueeze(1),
    )
    return TokenLayout(tokens=tokens, clip=clip, place=place)


def hide_padding(input_ids: Int[Tensor, "batch token"], pad: int | None) -> Int[Tensor, "batch token"]:
    """A mask that hides the padding ids in front of a prompt, and nothing behind its first real token."""
    real = torch.ones_like(input_ids) if pad is None else (input_ids != pad).long()
    return (real.cumsum(-1) > 0).long()


def _documents(
    valid: Bool[Tensor, "batch token"],
    clip: Int[Tensor, "batch token"],
    document_ids: Int[Tensor, "batch token"] | None,
) -> tuple[Int[Tensor, "batch token"], Int[Tensor, "batch token"]]:
    """The document of each real token, and its place among the real tokens of that; -1 for padding."""
    place = valid.long().cumsum(-1) - 1
    if document_ids is None:
        return valid.long() - 1, place.masked_fill(~valid, -1)
    if document_ids.shape != valid.shape:
        raise ValueError(
            f"document_ids must have the shape of input_ids {tuple(valid.shape)}, got {tuple(document_ids.shape)}"
        )
    document = document_ids.long().masked_fill(~valid, -1)
    highest = document.cummax(-1).values
    bad = (valid & ((document < 0) | (document != highest))).any(-1)
    if bool(bad.any()):
        raise ValueError(
            "document_ids must be at least 0 and never fall along a sample, got "
            f"{document_ids[bad][0].tolist()}; number the documents in their order"
        )
    _check_whole(clip, document)
    before = torch.nn.functional.pad(highest, (1, 0), value=-1)[:, :-1]
    start = place.masked_fill(document == before, 0).cummax(-1).values
    return document, (place - start).masked_fill(~valid, -1)


def _check_whole(clip: Int[Tensor, "batch token"], document: Int[Tensor, "batch token"]) -> None:
    """All tokens of an image or video must be of one document."""
    count = int(clip.max()) + 1 if clip.numel() else 0
    slot = torch.where(clip >= 0, clip, count)
    ends = []
    for how in ("amin", "amax"):
        table = torch.zeros(clip.shape[0], count + 1, dtype=document.dtype, device=clip.device)
        ends.append(table.scatter_reduce(1, slot, document, reduce=how, include_self=False)[:, :count])
    parted = (ends[0] != ends[1]).any(-1).nonzero().flatten().tolist()
    if parted:
        raise ValueError(
            f"document_ids must not part an image or video, and do so in sample {parted[0]}; pack whole samples"
        )


def _check_runs(
    visual: Bool[Tensor, "batch token"], context: Bool[Tensor, "batch token"], form: UnitForm
) -> None:
    """Every unit must be one run of visual placeholders and, right behind it, one of context placeholders."""
    size, extra = form.num_visual, form.num_context
    # Position within a unit that each placeholder must have: visual ones count up to `size`, context ones follow.
    within = torch.where(visual, (visual.long().cumsum(-1) - 1) % size, -1)
    if extra:
        within = torch.where(context, size + (context.long().cumsum(-1) - 1) % extra, within)
    before = torch.nn.functional.pad(within, (1, 0), value=-1)[:, :-1]
    broken = ((within > 0) & (before != within - 1)) | (
        (within <= 0) & (before >= 0) & (before != size + extra - 1)
    )
    if not extra:
        broken |= context
    broken[:, -1] |= (within[:, -1] >= 0) & (within[:, -1] != size + extra - 1)
    bad = broken.any(-1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"input_ids must hold every image or frame as one run of {size} visual and {extra} context placeholders, "
            f"got {int(visual[bad[0]].sum())} and {int(context[bad[0]].sum())} in sample {bad[0]} that do not form "
            "such runs; let CambrianProcessor expand the prompt, and truncate no unit"
        )


def _clips(
    visual: Bool[Tensor, "batch token"], form: UnitForm, clip_lengths: Int[Tensor, "batch clip"] | None
) -> Int[Tensor, "batch clip"]:
    """Units of each clip, checked against the placeholders."""
    found = visual.sum(-1) // form.num_visual
    if clip_lengths is None:
        most = int(found.max()) if found.numel() else 0
        return (torch.arange(most, device=found.device)[None] < found[:, None]).long()
    clip_lengths = clip_lengths.to(found.device)
    given = clip_lengths.sum(-1)
    for sample, (marks, units) in enumerate(zip(found.tolist(), given.tolist(), strict=True)):
        if marks != units:
            raise ValueError(
                f"sample {sample} has placeholders for {marks} images or frames, but clip_lengths counts {units}; "
                "give the prompt one placeholder for each image"
            )
    return clip_lengths


def _places(
    visual: Bool[Tensor, "batch token"], form: UnitForm, clip_lengths: Int[Tensor, "batch clip"]
) -> tuple[Int[Tensor, "batch token"], Int[Tensor, "batch token 3"], Int[Tensor, "batch token"]]:
    """Unit, (t, y, x) and clip of visual tokens, -1 elsewhere."""
    rank = visual.long().cumsum(-1) - 1
    unit = torch.div(rank, form.num_visual, rounding_mode="floor")
    inside = rank % form.num_visual
    clip = _clip_of_unit(unit, clip_lengths)
    begin = torch.nn.functional.pad(clip_lengths.cumsum(-1), (1, 0))
    t = unit - begin.gather(1, clip.clamp_min(0))
    y = torch.div(inside, form.columns, rounding_mode="floor")
    place = torch.stack([t, y, inside % form.columns], -1)
    return (
        unit.masked_fill(~visual, -1),
        place.masked_fill(~visual[..., None], -1),
        clip.masked_fill(~visual, -1),
    )


def _clip_of_unit(
    unit: Int[Tensor, "batch token"], clip_lengths: Int[Tensor, "batch clip"]
) -> Int[Tensor, "batch token"]:
    """The clip that each unit belongs to; padding clips of length 0 hold none."""
    end = clip_lengths.cumsum(-1).contiguous()
    return torch.searchsorted(end, unit.contiguous(), right=True)
