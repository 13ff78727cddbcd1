"""Prompts described in a few words, and the layouts that follow: the ground that every case stands on."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from gazekit.contracts import Kind, Regions, TokenLayout, Tokens, regions_from_owner

FIELDS = ("kind", "unit", "document", "order", "clip", "t", "y", "x", "segment")
BLANK = (Kind.PAD, *[-1] * (len(FIELDS) - 1))
_NOWHERE = (-1,) * 5
_SIGNS = {Kind.PAD: ".", Kind.TEXT: "t", Kind.VISUAL: "v", Kind.CONTEXT: "c"}


@dataclass(frozen=True)
class Text:
    """A run of text tokens."""

    length: int


@dataclass(frozen=True)
class Clip:
    """An image or, with more than one frame, a video.

    Attributes:
        rows: Height of a frame, in tokens.
        columns: Width of a frame, in tokens.
        frames: Units of the clip.
        stamp: Text tokens between one frame and the next, as time stamps stand there.
        context: Context tokens behind each frame.
    """

    rows: int
    columns: int
    frames: int = 1
    stamp: int = 0
    context: int = 0


Document = tuple[Text | Clip, ...]


@dataclass(frozen=True)
class Prompts:
    """A batch of prompts; each is a list of packed documents, and each of these a list of pieces.

    Attributes:
        samples: Documents of each sample.
        pad_left: Padding stands before the shorter samples, else behind them.
        spare: Columns of padding that even the longest sample has.
        bidirectional: The visual tokens of a unit see each other.
        outside: The layout carries segments, and a map that favours some visual tokens.
    """

    samples: tuple[tuple[Document, ...], ...]
    pad_left: bool = True
    spare: int = 0
    bidirectional: bool = False
    outside: bool = False

    def layout(self) -> TokenLayout:
        """The layout that a processor would make of these prompts."""
        columns = [sample_columns(documents, self.bidirectional) for documents in self.samples]
        length = max(map(len, columns)) + self.spare
        table = []
        for sample in columns:
            padded = [BLANK] * (length - len(sample))
            table.append([*padded, *sample] if self.pad_left else [*sample, *padded])
        return layout_of(table, self.outside)


def layout_of(columns: Sequence[Sequence[Sequence[int]]], outside: bool = False) -> TokenLayout:
    """The layout of samples given by the `FIELDS` of each token; `outside`: with segments and a map."""
    length = max(map(len, columns))
    table = [[*sample, *[BLANK] * (length - len(sample))] for sample in columns]
    fields = torch.tensor(table, dtype=torch.int64).reshape(len(table), length, len(FIELDS))
    kind, unit, document, order = (fields[:, None, :, i] for i in range(4))
    tokens = Tokens(kind, unit, document, order, torch.full_like(kind, -1))
    place = fields[..., 5:8]
    # A map that has its own value at every place, whatever stands around it.
    prior = torch.sin((place * torch.tensor([2.0, 3.0, 7.0])).sum(-1)).masked_fill(place[..., 0] < 0, 0)
    return TokenLayout(
        tokens=tokens,
        clip=fields[..., 4],
        place=place,
        segment=fields[..., 8] if outside else None,
        prior=prior if outside else None,
    )


def _segment(t: int, y: int, x: int) -> int:
    """The segment of a place: one of two in stripes that cross the frames, every third place in none."""
    return (t + y + 2 * x) % 3 - 1


def sample_columns(documents: Iterable[Document], bidirectional: bool = False) -> list[tuple[int, ...]]:
    """The `FIELDS` of each token of a sample."""
    columns: list[tuple[int, ...]] = []
    unit = clip = -1
    for number, document in enumerate(documents):
        begin = len(columns)
        for piece in document:
            if isinstance(piece, Text):
                here = len(columns) - begin
                columns += [(Kind.TEXT, -1, number, here + i, *_NOWHERE) for i in range(piece.length)]
                continue
            clip += 1
            for t in range(piece.frames):
                unit += 1
                if t:
                    here = len(columns) - begin
                    columns += [(Kind.TEXT, -1, number, here + i, *_NOWHERE) for i in range(piece.stamp)]
                here, count = len(columns) - begin, piece.rows * piece.columns
                for i in range(count):
                    order = here + (count - 1 if bidirectional else i)
                    y, x = divmod(i, piece.columns)
                    columns.append((Kind.VISUAL, unit, number, order, clip, t, y, x, _segment(t, y, x)))
                here = len(columns) - begin
                columns += [
                    (Kind.CONTEXT, unit, number, here + i, clip, *_NOWHERE[1:]) for i in range(piece.context)
                ]
    return columns


@dataclass(frozen=True)
class Grid:
    """Divides visual tokens into cells of each clip; the plain form of a grid partition.

    Attributes:
        size: Frames, rows and columns of a cell, in tokens.
    """

    size: tuple[int, int, int]

    def labels(self, layout: TokenLayout, sample: int) -> list[object]:
        """What tells the regions of a sample's tokens apart; None = in no region."""
        kinds, clips, places = (
            layout.kind[sample].tolist(),
            layout.clip[sample].tolist(),
            layout.place[sample].tolist(),
        )
        return [
            (clip, *(at // step for at, step in zip(place, self.size, strict=True)))
            if kind == Kind.VISUAL
            else None
            for kind, clip, place in zip(kinds, clips, places, strict=True)
        ]


@dataclass(frozen=True)
class Scatter:
    """Divides the visual tokens of each clip into regions at random, so that members lie anywhere.

    Attributes:
        count: Regions of a clip, at most.
        seed: Of the dice.
    """

    count: int
    seed: int

    def labels(self, layout: TokenLayout, sample: int) -> list[object]:
        """What tells the regions of a sample's tokens apart; None = in no region."""
        dice = random.Random(f"{self.seed} {sample}")
        kinds, clips = layout.kind[sample].tolist(), layout.clip[sample].tolist()
        return [
            (clip, dice.randrange(self.count)) if kind == Kind.VISUAL else None
            for kind, clip in zip(kinds, clips, strict=True)
        ]


@dataclass(frozen=True)
class Runs:
    """Divides all real tokens of each document into runs of equal length; the last one may be shorter.

    Attributes:
        length: Tokens of a run.
    """

    length: int

    def labels(self, layout: TokenLayout, sample: int) -> list[object]:
        """What tells the regions of a sample's tokens apart; None = in no region."""
        seen: dict[int, int] = {}
        labels: list[object] = []
        for document in layout.tokens.document[sample, 0].tolist():
            if document < 0:
                labels.append(None)
                continue
            labels.append((document, seen.setdefault(document, 0) // self.length))
            seen[document] += 1
        return labels


Division = Grid | Scatter | Runs


def divide(layout: TokenLayout, division: Division) -> Regions:
    """The regions of a layout, numbered as they first appear."""
    return regions_from_owner(
        owner_of([division.labels(layout, b) for b in range(layout.clip.shape[0])]), layout
    )


def owner_of(labels: list[list[object]]) -> Int[Tensor, "batch token"]:
    """Numbers the labels of each sample as they first appear; None gives -1."""
    owner = []
    for sample in labels:
        number: dict[object, int] = {None: -1}
        for label in sample:
            number.setdefault(label, len(number) - 1)
        owner.append([number[label] for label in sample])
    return torch.tensor(owner, dtype=torch.int64).reshape(len(labels), -1)


def sketch(layout: TokenLayout, regions: Regions | None = None) -> str:
    """A layout in letters, one line a sample: `.` padding, `t` text, `c` context, `v` or its region visual.

    Documents are set apart by `|`; regions are letters from `A` on.
    """
    lines = []
    for b in range(layout.clip.shape[0]):
        document, line = -1, ""
        for i, kind in enumerate(layout.kind[b].tolist()):
            owner = -1 if regions is None else int(regions.owner[b, i])
            here = int(layout.tokens.document[b, 0, i])
            line += "|" if here > document >= 0 else ""
            document = max(here, document)
            line += _SIGNS[Kind(kind)] if owner < 0 else chr(ord("A") + owner % 26)
        lines.append(line)
    return "\n".join(lines)
