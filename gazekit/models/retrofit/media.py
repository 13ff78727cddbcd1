"""What an architecture says of its images and videos, and the layout that follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from gazekit.contracts import Kind, TokenLayout, Tokens


@dataclass(frozen=True)
class Medium:
    """One image or video: its visual tokens, in the order in which they stand in the prompt.

    Attributes:
        place: `(t, y, x)` of each token: frame, row and column within its grid, in tokens.
        unit: The unit of each token, counted within the medium from 0 and ascending: an image is one unit, tiles and
            thumbnail included; a video has one for each frame that the decoder sees.
        grid: The grid that a token's place counts in, from 0: tiles that are not laid back on one grid, or a
            thumbnail, have grids of their own, and no region spans two of them.
        mutual: True = its tokens see each other whatever their order (bidirectional images).
    """

    place: Int[Tensor, "token 3"]
    unit: Int[Tensor, " token"]
    grid: Int[Tensor, " token"]
    mutual: bool = False

    @property
    def length(self) -> int:
        """Visual tokens."""
        return self.unit.shape[0]


@dataclass(frozen=True)
class Media:
    """The images and videos of a batch, each in the order of the prompts, sample after sample."""

    images: Sequence[Medium] = field(default_factory=list)
    videos: Sequence[Medium] = field(default_factory=list)


@runtime_checkable
class Adapter(Protocol):
    """How an architecture of transformers writes images and videos into a prompt.

    A file of this name in `architectures/` holds one as `ADAPTER`; the file is named by the config's `model_type`.
    """

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model inputs that `media` reads: grids, sizes, pixels.

        One of them must come with every image, read or not: a call without any brings no new image.
        """

    def visual_ids(self, config: PreTrainedConfig) -> tuple[int, int | None]:
        """Placeholder ids of images and of videos; None = no videos."""

    def media(
        self,
        config: PreTrainedConfig,
        input_ids: Int[Tensor, "batch token"],
        valid: Bool[Tensor, "batch token"],
        given: Mapping[str, Tensor],
    ) -> Media:
        """The media of a batch, from those of `inputs` that were given.

        Raises:
            ValueError: An input that the places follow from is missing or does not fit.
        """


def grid(rows: int, columns: int, frames: int = 1, *, mutual: bool = False) -> Medium:
    """An image, or a video of `frames`, on one grid, row by row and frame by frame; each frame is a unit."""
    t, y, x = torch.meshgrid(torch.arange(frames), torch.arange(rows), torch.arange(columns), indexing="ij")
    place = torch.stack([t, y, x], dim=-1).flatten(0, 2)
    return Medium(place=place, unit=place[:, 0], grid=torch.zeros_like(place[:, 0]), mutual=mutual)


def joined(parts: Sequence[Medium]) -> Medium:
    """One image of several grids one after another (tiles, a thumbnail), one unit, no region across two of them."""
    number = [torch.full_like(part.grid, index) for index, part in enumerate(parts)]
    place = torch.cat([part.place for part in parts])
    return Medium(
        place=place,
        unit=torch.zeros_like(place[:, 0]),
        grid=torch.cat(number),
        mutual=any(part.mutual for part in parts),
    )


def runs(mark: Bool[Tensor, " token"]) -> list[int]:
    """Lengths of the runs of True, in order."""
    edge = torch.diff(mark.long(), prepend=mark.new_zeros(1).long(), append=mark.new_zeros(1).long())
    return ((edge == -1).nonzero() - (edge == 1).nonzero()).flatten().tolist()


def layout_of_media(
    input_ids: Int[Tensor, "batch token"],
    valid: Bool[Tensor, "batch token"],
    media: Media,
    visual_ids: tuple[int, int | None],
    context_ids: Sequence[int] = (),
) -> TokenLayout:
    """Where every token of a prompt lies: its placeholders, in order, take the tokens of the media.

    Args:
        input_ids: The whole prompt.
        valid: True = real, False = padding.
        media: Of the whole batch.
        visual_ids: Placeholder ids of images and of videos.
        context_ids: Ids of the context tokens of a unit, one each; every unit has them all, behind its own tokens.

    Raises:
        ValueError: Placeholders and media do not match; the sample and both counts are named.
    """
    device, ids, valid = input_ids.device, input_ids.cpu(), valid.cpu()
    sheet = _Sheet.blank(valid)
    images, videos = iter(media.images), iter(media.videos)
    for sample in range(len(ids)):
        marks = [
            torch.zeros_like(valid[sample]) if number is None else (ids[sample] == number) & valid[sample]
            for number in visual_ids
        ]
        clip_of_unit = sheet.show(sample, marks[0] | marks[1], _found(sample, marks, images, videos))
        if context_ids:
            context = torch.isin(ids[sample], torch.tensor(list(context_ids))) & valid[sample]
            sheet.show_context(sample, context, len(context_ids), clip_of_unit)
    for name, rest in (("image", images), ("video", videos)):
        if (left := len(list(rest))) > 0:
            raise ValueError(
                f"the prompts have no placeholders for the last {left} {name}s; give each {name} one place in the text"
            )
    return sheet.layout(valid, device)


@dataclass(frozen=True)
class _Sheet:
    """The fields of a layout as they are filled in."""

    kind: Int[Tensor, "batch token"]
    unit: Int[Tensor, "batch token"]
    clip: Int[Tensor, "batch token"]
    order: Int[Tensor, "batch token"]
    place: Int[Tensor, "batch token 3"]

    @classmethod
    def blank(cls, valid: Bool[Tensor, "batch token"]) -> _Sheet:
        """All text and padding."""
        none = torch.full(valid.shape, -1, dtype=torch.int64)
        return cls(
            kind=torch.where(valid, int(Kind.TEXT), int(Kind.PAD)),
            unit=none.clone(),
            clip=none.clone(),
            order=(valid.long().cumsum(-1) - 1).masked_fill(~valid, -1),
            place=none[..., None].repeat(1, 1, 3),
        )

    def show(self, sample: int, visual: Bool[Tensor, " token"], media: list[Medium]) -> list[int]:
        """Writes media at the visual placeholders; returns the last clip of each unit."""
        where, begin = visual.nonzero().flatten(), 0
        clip_of_unit: list[int] = []
        clips = 0
        for medium in media:
            spot = where[begin : begin + medium.length]
            self.kind[sample, spot] = int(Kind.VISUAL)
            self.place[sample, spot] = medium.place
            self.unit[sample, spot] = medium.unit + len(clip_of_unit)
            self.clip[sample, spot] = medium.grid + clips
            if medium.mutual:
                self.order[sample, spot] = int(self.order[sample, spot[-1]])
            units = int(medium.unit[-1]) + 1
            clip_of_unit += [clips + int(medium.grid[medium.unit == unit].max()) for unit in range(units)]
            begin += medium.length
            clips += int(medium.grid.max()) + 1
        return clip_of_unit

    def show_context(
        self, sample: int, context: Bool[Tensor, " token"], count: int, clip_of_unit: list[int]
    ) -> None:
        """Writes `count` context tokens for each unit."""
        spot = context.nonzero().flatten()
        if len(spot) != count * len(clip_of_unit):
            raise ValueError(
                f"sample {sample} must have {count} context tokens for each of its {len(clip_of_unit)} images or "
                f"frames, got {len(spot)} in all; prepare prompts with the processor that was given to apply_gaze"
            )
        own = torch.arange(len(spot)) // count
        self.kind[sample, spot] = int(Kind.CONTEXT)
        self.unit[sample, spot] = own
        self.clip[sample, spot] = torch.tensor(clip_of_unit, dtype=torch.int64)[own]

    def layout(self, valid: Bool[Tensor, "batch token"], device: torch.device) -> TokenLayout:
        """The layout on a device."""
        tokens = Tokens(
            kind=self.kind[:, None],
            unit=self.unit[:, None],
            document=valid.long()[:, None] - 1,
            order=self.order[:, None],
            owner=torch.full_like(self.kind, -1)[:, None],
        )
        return TokenLayout(tokens=tokens.to(device), clip=self.clip.to(device), place=self.place.to(device))


def _found(
    sample: int, marks: list[Bool[Tensor, " token"]], images: Iterator[Medium], videos: Iterator[Medium]
) -> list[Medium]:
    """The media of a sample in the order in which they stand, taken from the batch's."""
    queues, names = (images, videos), ("image", "video")
    left = [int(mark.sum()) for mark in marks]
    sequence = marks[1][marks[0] | marks[1]].long()
    found: list[Medium] = []
    done = 0
    while done < len(sequence):
        which = int(sequence[done])
        medium = next(queues[which], None)
        if (
            medium is None
            or bool((sequence[done : done + medium.length] != which).any())
            or (medium.length > left[which])
        ):
            makes = "none is left" if medium is None else f"the next {names[which]} takes {medium.length}"
            raise ValueError(
                f"sample {sample} has placeholders for {left[which]} more {names[which]} tokens, but {makes}; pass "
                "input_ids, pixels and sizes as the processor returned them for the same prompts, cut no image off"
            )
        left[which] -= medium.length
        done += medium.length
        found.append(medium)
    return found
