"""The laws of partitions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import strategies as st

from gazekit.contracts import Kind, Partitioner, Regions, TokenLayout, regions_from_owner
from gazekit.testing import strategies
from gazekit.testing.laws.law import law, run
from gazekit.testing.prompts import Clip, Document, Prompts, Text, owner_of, sketch


@dataclass(frozen=True)
class _Case:
    prompts: Prompts

    def __str__(self) -> str:
        return f"{self.prompts}\n{sketch(self.prompts.layout())}"


@dataclass(frozen=True)
class _Growth:
    """Prompts, and what follows them in each sample's last document."""

    prompts: Prompts
    tail: Document

    def __str__(self) -> str:
        return f"{self.prompts} followed by {self.tail}\n{sketch(self.prompts.layout())}"


def _cases(outside: bool | None = None) -> st.SearchStrategy[_Case]:
    return st.builds(_Case, strategies.prompts(outside=outside))


def _growths(outside: bool | None = None) -> st.SearchStrategy[_Growth]:
    return st.builds(_Growth, strategies.prompts(outside=outside), strategies.documents(max_pieces=2))


@law(_cases)
def covers(part: Partitioner, case: _Case) -> None:
    """Every token of `kinds` is in exactly one region, nothing else is in any, and sizes add up."""
    layout = case.prompts.layout()
    regions = part(layout)
    assert regions.owner.shape == layout.clip.shape, f"owner has shape {list(regions.owner.shape)}"
    inside = torch.zeros_like(layout.kind, dtype=torch.bool)
    for kind in part.kinds:
        inside |= (layout.kind == kind) & (layout.kind != Kind.PAD)
    wrong = ((regions.owner >= 0) != inside).nonzero().tolist()
    assert not wrong, (
        f"tokens [sample, token] {wrong} should be in a region exactly where their kind is divided"
    )
    assert regions.size.sum(-1).tolist() == inside.sum(-1).tolist(), (
        "sizes do not add up to the divided tokens"
    )


@law(_cases)
def fields_are_true(part: Partitioner, case: _Case) -> None:
    """Size, orders, unit, document, ordinal and box follow from the members; a region may be left open."""
    layout = case.prompts.layout()
    regions = part(layout)
    truth = regions_from_owner(regions.owner, layout, growing=regions.last > layout.length)
    for name in ("size", "first", "last", "unit", "document", "ordinal", "box"):
        got, expected = getattr(regions, name), getattr(truth, name)
        assert torch.equal(got, expected), f"{name} is {got.tolist()}, members say {expected.tolist()}"


@law(_cases)
def numbered_as_they_begin(part: Partitioner, case: _Case) -> None:
    """Ids count from 0 without a gap, in the order in which regions begin."""
    regions = part(case.prompts.layout())
    ordered = owner_of([[None if r < 0 else r for r in sample] for sample in regions.owner.tolist()])
    assert torch.equal(regions.owner, ordered), f"owner is {regions.owner.tolist()}"


@law(_cases)
def documents_stay_apart(part: Partitioner, case: _Case) -> None:
    """No region has members of two documents."""
    _assert_apart(part, case.prompts.layout(), "document")


@law(_cases)
def clips_stay_apart(part: Partitioner, case: _Case) -> None:
    """No region has members of two images or videos."""
    _assert_apart(part, case.prompts.layout(), "clip")


def _assert_apart(part: Partitioner, layout: TokenLayout, what: str) -> None:
    label = layout.clip if what == "clip" else layout.tokens.document[:, 0]
    for b, owners in enumerate(part(layout).owner.tolist()):
        seen: dict[int, int] = {}
        for token, owner in enumerate(owners):
            here = int(label[b, token])
            assert owner < 0 or seen.setdefault(owner, here) == here, (
                f"region {owner} of sample {b} has members of {what} {seen[owner]} and {here}"
            )


@law(_growths)
def stable_when_the_sequence_grows(part: Partitioner, case: _Growth) -> None:
    """Tokens keep their region when generated text or further images follow."""
    prompts, grown = _grown(case)
    before, after = part(prompts.layout()).owner, part(grown.layout()).owner
    real = prompts.layout().tokens.valid[:, 0]
    assert torch.equal(before[real], after[:, : real.shape[1]][real]), (
        f"owner was {before.tolist()}, is {after.tolist()}"
    )
    layout, extended = _generated(prompts)
    before, after = part(layout).owner, part(extended).owner
    assert torch.equal(before, after[:, : layout.length]), (
        f"owner was {before.tolist()}, with generated text {after.tolist()}"
    )


@law(_growths)
def complete_regions_stay_as_they_are(part: Partitioner, case: _Growth) -> None:
    """A region that some row may choose gets no more members when generated text or further images follow."""
    prompts, grown = _grown(case)
    for now, later in ((prompts.layout(), grown.layout()), _generated(prompts)):
        before, after = part(now), part(later)
        done = (before.size > 0) & (before.last < now.length)
        for name in ("size", "last"):
            was, is_ = getattr(before, name), getattr(after, name)[:, : before.count]
            assert torch.equal(was[done], is_[done]), f"{name} was {was.tolist()}, is {is_.tolist()}"


def _grown(case: _Growth) -> tuple[Prompts, Prompts]:
    """The prompts padded behind, and the same with more in each sample's last document."""
    prompts = replace(case.prompts, pad_left=False, spare=0)
    samples = tuple((*sample[:-1], (*sample[-1], *case.tail)) for sample in prompts.samples)
    return prompts, replace(prompts, samples=samples)


def _generated(prompts: Prompts) -> tuple[TokenLayout, TokenLayout]:
    """A layout padded in front, and the same with generated text."""
    layout = replace(prompts, pad_left=True).layout()
    return layout, layout.extended(layout.length + 3)


@law(_cases)
def packed_is_one_by_one(part: Partitioner, case: _Case) -> None:
    """Documents of one batch, padded and packed, are divided as each would be by itself."""
    layout = case.prompts.layout()
    regions = part(layout)
    for b, sample in enumerate(case.prompts.samples):
        for number, document in enumerate(sample):
            alone = part(replace(case.prompts, samples=((document,),), spare=0).layout())
            owner = regions.owner[b, layout.tokens.document[b, 0] == number]
            ordinal = (
                torch.where(owner >= 0, regions.ordinal[b, owner.clamp_min(0)], -1)
                if len(owner) and (regions.count)
                else owner
            )
            assert torch.equal(ordinal, alone.owner[0]), (
                f"document {number} of sample {b} is divided {ordinal.tolist()}, "
                f"by itself {alone.owner[0].tolist()}"
            )
            last = regions.last[b, regions.document[b] == number]
            assert torch.equal(last, alone.last[0]), (
                f"regions of document {number} of sample {b} end at {last.tolist()}, "
                f"by itself at {alone.last[0].tolist()}"
            )


@dataclass(frozen=True)
class _Photos:
    """Documents whose clips are single images, and cells of another depth."""

    prompts: Prompts
    depth: int

    def __str__(self) -> str:
        return f"{self.prompts}, depth {self.depth}\n{sketch(self.prompts.layout())}"


def _photos(outside: bool | None = None) -> st.SearchStrategy[_Photos]:
    return st.builds(_Photos, strategies.prompts(outside=outside).map(_still), st.integers(1, 4))


def _still(prompts: Prompts) -> Prompts:
    samples = tuple(tuple(tuple(map(_first_frame, d)) for d in sample) for sample in prompts.samples)
    return replace(prompts, samples=samples)


def _first_frame(piece: Text | Clip) -> Text | Clip:
    return replace(piece, frames=1) if isinstance(piece, Clip) else piece


@law(_photos)
def one_frame_is_flat(part: Any, case: _Photos) -> None:
    """On images, cells of any depth divide like flat ones: 2-D is 3-D with one frame."""
    layout = case.prompts.layout()
    flat, deep = (replace(part, size=(depth, *part.size[1:])) for depth in (1, case.depth))
    _assert_same(flat(layout), deep(layout))


def _assert_same(one: Regions, other: Regions) -> None:
    assert torch.equal(one.owner, other.owner), f"owner {one.owner.tolist()} and {other.owner.tolist()}"


@law(_cases)
def finer_refines_coarser(part: Any, case: _Case) -> None:
    """Each cell lies within one cell of the grid that is twice as coarse."""
    layout = case.prompts.layout()
    fine, coarse = part(layout).owner, replace(part, size=tuple(2 * side for side in part.size))(layout).owner
    for b in range(len(fine)):
        for region in range(int(fine[b].max()) + 1 if fine.numel() else 0):
            around = coarse[b][fine[b] == region].unique()
            assert len(around) == 1, (
                f"region {region} of sample {b} spreads over {around.tolist()} of the coarser"
            )


LAWS = (
    covers,
    fields_are_true,
    numbered_as_they_begin,
    documents_stay_apart,
    clips_stay_apart,
    stable_when_the_sequence_grows,
    complete_regions_stay_as_they_are,
    packed_is_one_by_one,
)
GRID_LAWS = (one_frame_is_flat, finer_refines_coarser)


def check_partitioner(
    part: Partitioner, *, outside: bool | None = None, omit: Mapping[str, str] | None = None
) -> None:
    """Checks a partitioner against every law of its room.

    Args:
        part: Divides `kinds` of tokens.
        outside: True for a part that needs segments or a map from outside; None tries layouts with and without.
        omit: Laws that do not apply, by name, each with the reason.

    Raises:
        AssertionError: It breaks a law; the message names it and shows the smallest case found.
        ValueError: An omission names no law, or gives no reason.
    """
    run(LAWS, part, omit, outside=outside)


def check_grid(part: Partitioner, *, omit: Mapping[str, str] | None = None) -> None:
    """Checks a partitioner into cells, a frozen dataclass with a `size` of frames, rows and columns.

    All laws of `check_partitioner`, and two of grids.

    Args:
        part: Divides visual tokens into cells of `size`.
        omit: Laws that do not apply, by name, each with the reason.

    Raises:
        AssertionError: It breaks a law; the message names it and shows the smallest case found.
        ValueError: An omission names no law, or gives no reason.
    """
    run(LAWS + GRID_LAWS, part, omit)
