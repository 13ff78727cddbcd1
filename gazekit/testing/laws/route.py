"""The laws of routers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from jaxtyping import Bool
from torch import Tensor

from gazekit.contracts import Router, Selection, Sizes
from gazekit.testing import strategies
from gazekit.testing.cases import RoutingCase
from gazekit.testing.laws.law import Refused, law, run
from gazekit.testing.prompts import Division
from gazekit.testing.restate import permuted_regions, routed_document, routing_sample, row_chunk

_OPENNESS = (0.0, 0.25, 0.5, 0.75, 1.0)


def _cases(
    sizes: Sizes | None = None, outside: bool | None = None, division: Division | None = None
) -> st.SearchStrategy[RoutingCase]:
    return strategies.routing_cases(sizes, outside=outside, division=division)


def _tied(
    sizes: Sizes | None = None, outside: bool | None = None, division: Division | None = None
) -> st.SearchStrategy[RoutingCase]:
    tied = strategies.routing_cases(sizes, distinct=False, outside=outside, division=division)
    return tied.map(_same_for_all_heads)


def _same_for_all_heads(case: RoutingCase) -> RoutingCase:
    return replace(case, scores=case.scores[:, :1].expand_as(case.scores).contiguous())


def _asked(part: Router, case: RoutingCase) -> Selection:
    """The selection; where the part says None, all complete regions."""
    selection = part(case.scores.clone(), case.view)
    return selection if selection is not None else _everything(case)


def _everything(case: RoutingCase) -> Selection:
    complete = case.view.complete
    ids = torch.arange(complete.shape[-1]).expand(complete.shape).masked_fill(~complete, complete.shape[-1])
    return Selection(index=ids.sort(-1).values.where(ids.sort(-1).values < complete.shape[-1], -1)[:, None])


def _chosen(part: Router, case: RoutingCase) -> Bool[Tensor, "batch head row region"]:
    """True = a real row of this head looks at this region."""
    selection = _asked(part, case)
    chosen = selection.chosen(case.view.regions.count)
    chosen = chosen.repeat_interleave(case.view.num_heads // chosen.shape[1], dim=1)
    return chosen & case.view.rows.valid[:, None, :, None]


def _assert_same(got: Tensor, expected: Tensor, when: str) -> None:
    where = (got != expected).nonzero().tolist()
    assert not where, f"{when}, the choice of [sample, head, row, region] {where} differs"


@law(_cases)
def shape_and_type(part: Router, case: RoutingCase) -> None:
    """The index is int32 `[batch #head row slot]`; its head axis counts heads, KV heads or 1."""
    selection = part(case.scores.clone(), case.view)
    if selection is None:
        return
    index, view = selection.index, case.view
    assert index.dtype == torch.int32, f"index is {index.dtype}"
    assert index.shape[0] == case.scores.shape[0], list(index.shape)
    assert index.shape[2] == view.rows.count, f"index has {index.shape[2]} rows of {view.rows.count}"
    assert index.shape[1] in (1, view.num_kv_heads, view.num_heads), f"index has {index.shape[1]} heads"
    assert ((index >= -1) & (index < view.regions.count)).all(), f"index {index.tolist()} names no region"


@law(_cases)
def unique(part: Router, case: RoutingCase) -> None:
    """No region stands twice in a row's selection."""
    for row in _asked(part, case).index.flatten(0, 2).tolist():
        ids = [region for region in row if region >= 0]
        assert len(ids) == len(set(ids)), f"a row selects {row}"


@law(_cases)
def ascending(part: Router, case: RoutingCase) -> None:
    """A row's regions ascend, and -1 stands after them."""
    for row in _asked(part, case).index.flatten(0, 2).tolist():
        ids = [region for region in row if region >= 0]
        assert row == sorted(ids) + [-1] * (len(row) - len(ids)), f"a row selects {row}"


@law(_cases)
def complete(part: Router, case: RoutingCase) -> None:
    """Only regions that are complete for a row are chosen by it."""
    wrong = (_chosen(part, case) & ~case.view.complete[:, None]).nonzero().tolist()
    assert not wrong, f"incomplete regions are chosen at [sample, head, row, region] {wrong}"


@law(_cases)
def own_document(part: Router, case: RoutingCase) -> None:
    """Only regions of a row's own document are chosen by it."""
    own = case.view.rows.document[:, :, None] == case.view.regions.document[:, None, :]
    wrong = (_chosen(part, case) & ~own[:, None]).nonzero().tolist()
    assert not wrong, f"regions of other documents are chosen at [sample, head, row, region] {wrong}"


@law(_cases)
def reads_only_complete_regions(part: Router, case: RoutingCase) -> None:
    """Scores of regions that a row may not choose change nothing, be they huge or NaN."""
    expected = _chosen(part, case)
    for garbage in (torch.inf, torch.nan):
        spoilt = case.scores.masked_fill(~case.view.complete[:, None], garbage)
        _assert_same(
            _chosen(part, replace(case, scores=spoilt)), expected, f"with {garbage} where incomplete"
        )


@law(_cases)
def same_answer_twice(part: Router, case: RoutingCase) -> None:
    """Asked again, whatever global generators did meanwhile, it chooses the same."""
    expected = _chosen(part, case)
    _assert_same(_chosen(part, case), expected, "asked twice")


@law(_cases)
def chunked_rows_are_all_rows(part: Router, case: RoutingCase) -> None:
    """A few rows at a time choose what they choose together."""
    whole, count = _chosen(part, case), case.view.rows.count
    for start, stop in ((0, min(1, count)), (min(1, count), count)):
        got = _chosen(part, row_chunk(case, start, stop))
        _assert_same(got, whole[:, :, start:stop], f"with rows {start} to {stop} by themselves")


@law(_cases)
def batch_is_one_by_one(part: Router, case: RoutingCase) -> None:
    """Each sample chooses as it would by itself."""
    together = _chosen(part, case)
    for b in range(together.shape[0]):
        alone = routing_sample(case, b)
        got = _chosen(part, alone)
        _assert_same(together[b : b + 1, ..., : alone.view.regions.count], got, f"with sample {b} by itself")


@law(_cases)
def packed_is_one_by_one(part: Router, case: RoutingCase) -> None:
    """Each packed document chooses as it would by itself."""
    together = _chosen(part, case)
    for b in range(together.shape[0]):
        sample = routing_sample(case, b)
        for document in sorted(set(sample.view.rows.document[0].tolist()) - {-1}):
            rows = (sample.view.rows.document[0] == document).nonzero()[:, 0]
            regions = (sample.view.regions.document[0] == document).nonzero()[:, 0]
            got = _chosen(part, routed_document(sample, document))
            expected = together[b : b + 1, :, rows][..., regions]
            _assert_same(got, expected, f"with document {document} of sample {b} by itself")


@law(_cases)
def permuting_regions_permutes_the_answer(part: Router, case: RoutingCase) -> None:
    """Regions of a unit that change numbers are chosen as before, where no scores are equal."""
    together = _chosen(part, case)
    for b in range(together.shape[0]):
        sample = routing_sample(case, b)
        regions = sample.view.regions
        order = list(range(regions.count))
        groups: dict[tuple[int, int], list[int]] = {}
        for region in order:
            groups.setdefault((int(regions.document[0, region]), int(regions.unit[0, region])), []).append(
                region
            )
        for members in groups.values():
            for place, region in zip(members, reversed(members), strict=True):
                order[place] = region
        index = torch.tensor(order, dtype=torch.int64)
        got = _chosen(part, permuted_regions(sample, index))
        _assert_same(got, together[b : b + 1][..., index], f"with regions of sample {b} in the order {order}")


@law(_cases)
def openness_one_is_dense(part: Router, case: RoutingCase) -> None:
    """At openness 1 every complete region is looked at, or the answer is None."""
    got = _chosen(part, _at(case, 1.0))
    _assert_same(got, case.view.complete[:, None].expand_as(got), "at openness 1")


@law(_cases)
def opening_only_adds(part: Router, case: RoutingCase) -> None:
    """What is chosen at one openness is chosen at every larger one."""
    narrow = _chosen(part, _at(case, _OPENNESS[0]))
    for openness in _OPENNESS[1:]:
        wide = _chosen(part, _at(case, openness))
        lost = (narrow & ~wide).nonzero().tolist()
        assert not lost, f"at openness {openness}, [sample, head, row, region] {lost} are lost"
        narrow = wide


def _at(case: RoutingCase, openness: float) -> RoutingCase:
    return replace(case, view=replace(case.view, openness=openness))


@law(_cases)
def larger_k_contains_smaller_k(part: Any, case: RoutingCase) -> None:
    """With k one larger, everything is chosen that was chosen before."""
    if "k" not in getattr(part, "__dataclass_fields__", ()):
        raise Refused("it is no dataclass with a k")
    narrow, wide = _chosen(part, case), _chosen(replace(part, k=part.k + 1), case)
    lost = (narrow & ~wide).nonzero().tolist()
    assert not lost, f"with k {part.k + 1}, [sample, head, row, region] {lost} are lost"


@law(_tied)
def ties_go_to_the_lowest_id(part: Router, case: RoutingCase) -> None:
    """Of complete regions with equal scores those with lower ids are chosen first."""
    chosen, scores = _chosen(part, case), case.scores
    tie = (scores[..., :, None] == scores[..., None, :]) & case.view.complete[:, None, :, :, None]
    lower = torch.ones(scores.shape[-1], scores.shape[-1], dtype=torch.bool).tril(-1).T
    skipped = tie & lower & ~chosen[..., :, None] & chosen[..., None, :]
    wrong = skipped.nonzero().tolist()
    assert not wrong, f"[sample, head, row, left out, chosen]: {wrong}"


@law(_cases)
def whole_mass_keeps_all(part: Any, case: RoutingCase) -> None:
    """With mass 1 and no cap, every complete region is looked at."""
    got = _chosen(replace(part, mass=1.0, max_k=None), _at(case, 0.0))
    _assert_same(got, case.view.complete[:, None].expand_as(got), "with mass 1")


@law(_cases)
def larger_mass_contains_smaller_mass(part: Any, case: RoutingCase) -> None:
    """With more mass, everything is chosen that was chosen before."""
    narrow, wide = (_chosen(replace(part, mass=part.mass * by), case) for by in (0.5, 1.0))
    lost = (narrow & ~wide).nonzero().tolist()
    assert not lost, f"with mass {part.mass}, [sample, head, row, region] {lost} of half of it are lost"


LAWS = (
    shape_and_type,
    unique,
    ascending,
    complete,
    own_document,
    reads_only_complete_regions,
    same_answer_twice,
    chunked_rows_are_all_rows,
    batch_is_one_by_one,
    packed_is_one_by_one,
    permuting_regions_permutes_the_answer,
    openness_one_is_dense,
    opening_only_adds,
    larger_k_contains_smaller_k,
    ties_go_to_the_lowest_id,
)
NUCLEUS_LAWS = (whole_mass_keeps_all, larger_mass_contains_smaller_mass)


def check_router(
    part: Router,
    *,
    sizes: Sizes | None = None,
    outside: bool | None = None,
    division: Division | None = None,
    omit: Mapping[str, str] | None = None,
) -> None:
    """Checks a router against every law of its room.

    Args:
        part: Selects regions.
        sizes: Heads and widths that a router with weights is bound to; None tries several.
        outside: True for a part that needs segments or a map from outside; None tries layouts with and without.
        division: How prompts are divided, for a part that cannot choose among all divisions; None tries many.
        omit: Laws that do not apply, by name, each with the reason.

    Raises:
        AssertionError: It breaks a law; the message names it and shows the smallest case found.
        ValueError: An omission names no law, or gives no reason.

    Example:
        >>> from gazekit.route import TopKRouter
        >>> from gazekit.testing import laws
        >>> laws.check_router(TopKRouter(k=4))
    """
    run(LAWS, part, omit, sizes=sizes, outside=outside, division=division)


def check_nucleus(
    part: Router,
    *,
    sizes: Sizes | None = None,
    outside: bool | None = None,
    division: Division | None = None,
    omit: Mapping[str, str] | None = None,
) -> None:
    """Checks a router by mass, a frozen dataclass with a `mass` and a cap `max_k`.

    All laws of `check_router`, and two of mass.

    Args:
        part: Selects the regions that hold a mass.
        sizes: As for `check_router`.
        outside: As for `check_router`.
        division: As for `check_router`.
        omit: Laws that do not apply, by name, each with the reason.

    Raises:
        AssertionError: It breaks a law; the message names it and shows the smallest case found.
        ValueError: An omission names no law, or gives no reason.
    """
    run(LAWS + NUCLEUS_LAWS, part, omit, sizes=sizes, outside=outside, division=division)
