"""Routers by mass: nucleus and threshold; and the top of each unit."""

import math

import pytest
import torch

from gazekit.partition import GridPartition
from gazekit.route import NucleusRouter, ThresholdRouter, TopKRouter
from tests.scenes import layout, unchecked, view

CELLS = GridPartition(size=(1, 1, 1))


def looking(text, partition=CELLS, heads=1, **told):
    prompt = layout(text)
    return view(prompt, partition(prompt), heads=heads, **told)


def masses(*shares):
    """Scores whose softmax has these shares."""
    return torch.tensor(shares, dtype=torch.float64).log()[None, None, None]


def chosen(selection):
    return [region for region in selection.index[0, 0, 0].tolist() if region >= 0]


@pytest.mark.parametrize(
    ("mass", "expected"),
    [(0.3, [1]), (0.5, [1]), (0.51, [1, 3]), (0.8, [1, 3]), (0.9, [0, 1, 3]), (1.0, [0, 1, 2, 3])],
)
def test_a_nucleus_is_the_fewest_regions_that_hold_the_mass(mass, expected):
    router = NucleusRouter(mass=mass)
    assert chosen(router(masses(0.15, 0.5, 0.05, 0.3), looking("v1x4 t1"))) == expected


def test_caps_and_floors_of_a_nucleus():
    scores, told = masses(0.15, 0.5, 0.05, 0.3), looking("v1x4 t1")
    assert chosen(NucleusRouter(mass=0.99, max_k=2)(scores, told)) == [1, 3]
    assert chosen(NucleusRouter(mass=0.1, min_k=3)(scores, told)) == [0, 1, 3]
    assert NucleusRouter(mass=0.99, max_k=2)(scores, told).index.shape[-1] == 2


def test_a_nucleus_opens_its_mass_and_its_cap():
    scores = masses(0.15, 0.5, 0.05, 0.3)
    told = looking("v1x4 t1", openness=0.5)
    assert chosen(NucleusRouter(mass=0.5)(scores, told)) == [1, 3]
    assert chosen(NucleusRouter(mass=0.7)(scores, told)) == [0, 1, 3]
    assert chosen(NucleusRouter(mass=0.9, max_k=1)(scores, told)) == [0, 1, 3]


@pytest.mark.parametrize(
    ("mass", "expected"), [(0.5, [1]), (0.6, [1]), (0.61, [1, 3]), (0.95, [0, 1, 3]), (1.0, [0, 1, 2, 3])]
)
def test_by_range_shares_are_of_scores_and_not_of_their_exponentials(mass, expected):
    told = looking("v1x4 t1")
    for sharpness in (0.01, 100.0):
        scores = sharpness * (torch.tensor([0.1, 0.9, 0.0, 0.5]) - 3)[None, None, None]
        assert chosen(NucleusRouter(mass=mass, weigh="range")(scores, told)) == expected
    level = torch.zeros(1, 1, 1, 4)
    assert chosen(NucleusRouter(mass=0.5, weigh="range")(level, told)) == [0, 1]


def test_by_size_a_large_region_holds_more():
    told = looking("v1x5 t1", GridPartition(size=(1, 1, 4)))
    scores = masses(0.4, 0.6)
    assert chosen(NucleusRouter(mass=0.5)(scores, told)) == [1]
    assert chosen(NucleusRouter(mass=0.5, by_size=True)(scores, told)) == [0]


def test_the_scale_of_attention_counts():
    prompt = layout("v1x2 t1")
    told = view(prompt, CELLS(prompt), heads=1)
    flat = type(told)(**{**vars(told), "scale": 0.1})
    scores = masses(0.9, 0.1)
    assert chosen(NucleusRouter(mass=0.8)(scores, told)) == [0]
    assert chosen(NucleusRouter(mass=0.8)(scores, flat)) == [0, 1]


def test_minus_infinity_is_no_mass_and_nothing_but_it_no_nan():
    told = looking("v1x3 t1")
    assert chosen(NucleusRouter(mass=0.999)(torch.tensor([[[[0.0, -math.inf, 0.0]]]]), told)) == [0, 2]
    for weigh in ("softmax", "range"):
        router = NucleusRouter(mass=0.5, weigh=weigh)
        assert chosen(router(torch.full((1, 1, 1, 3), -math.inf), told)) == [0, 1, 2]
    some = torch.tensor([[[[1.0, -math.inf, 0.0]]]])
    assert chosen(NucleusRouter(mass=0.999, weigh="range")(some, told)) == [0]


def test_a_threshold_keeps_what_holds_enough_and_the_best_in_any_case():
    scores, told = masses(0.15, 0.5, 0.05, 0.3), looking("v1x4 t1")
    assert chosen(ThresholdRouter(threshold=0.15)(scores, told)) == [0, 1, 3]
    assert chosen(ThresholdRouter(threshold=0.6)(scores, told)) == [1]
    assert chosen(ThresholdRouter(threshold=0.6, min_k=0)(scores, told)) == []
    half = looking("v1x4 t1", openness=0.5)
    assert chosen(ThresholdRouter(threshold=0.6)(scores, half)) == [1, 3]


def test_the_best_of_each_unit():
    told = looking("v1x3 t1 +1x2 v1x1 t1", start=7)
    index = TopKRouter(k=1, per="unit")(torch.tensor([[[[1.0, 2, 3, 9, 8, -5]]]]), told).index
    assert index.tolist() == [[[[2, 3, 5]]]]


def test_no_row_chooses_nothing_of_any_unit():
    told = looking("v1x2 v1x2 t1", start=5)
    selection = TopKRouter(k=1, per="unit")(torch.zeros(1, 1, 0, 4), told)
    assert selection.index.shape == (1, 1, 0, 2)


def test_units_open_each_by_their_own_count():
    told = looking("v1x4 +1x2 t1", openness=0.5)
    index = TopKRouter(k=2, per="unit")(torch.tensor([[[[1.0, 4, 2, 3, 9, 8]]]]), told).index
    assert index.tolist() == [[[[1, 2, 3, 4, 5]]]]


def test_heads_that_choose_together_pool_their_scores():
    told = looking("v1x3 t1", heads=2)
    scores = torch.tensor([[[[9.0, 6.0, 0.0]], [[-9.0, 5.0, 8.0]]]])
    for share in ("group", "layer"):
        assert TopKRouter(k=1, share=share)(scores, told).index.tolist() == [[[[1]]]]
        assert TopKRouter(k=2, share=share, pool="max")(scores, told).index.tolist() == [[[[0, 2]]]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NucleusRouter(mass=0.0), r"mass must lie in \(0, 1\], got 0.0; 0.9 looks at"),
        (lambda: NucleusRouter(mass=1.1), r"mass must lie in \(0, 1\], got 1.1"),
        (lambda: NucleusRouter(mass=0.5, min_k=0), "min_k must be at least 1, got 0"),
        (lambda: NucleusRouter(mass=0.5, min_k=3, max_k=2), "max_k must be at least min_k = 3, got 2"),
        (lambda: NucleusRouter(mass=0.5, weigh="sum"), 'weigh must be "softmax" or "range"'),
        (lambda: ThresholdRouter(threshold=1.0), r"threshold must lie in \(0, 1\), got 1.0; it is a share"),
        (lambda: ThresholdRouter(threshold=0.1, share="all"), 'share must be "head"'),
        (lambda: TopKRouter(k=1, pool="sum"), 'pool must be "mean" or "max"'),
        (lambda: TopKRouter(k=1, per="clip"), 'per must be "all" or "unit"'),
    ],
)
def test_refuses_what_makes_no_sense(make, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("router", [NucleusRouter(mass=0.5), ThresholdRouter(threshold=0.5)], ids=str)
def test_refuses_to_route_without_scores(router):
    with pytest.raises(ValueError, match=f"{type(router).__name__} needs scores, got none; set pool"):
        router(None, looking("v1x2 t1"))
