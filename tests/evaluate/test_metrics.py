"""The metrics against hand counts, closed forms and simulation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gazekit.evaluate import AttendedEntries, RoutingAccuracy
from gazekit.evaluate.metrics import (
    MassCoverage,
    SelectionStatistics,
    chance_of_overlap,
    majority_by_chance,
    overlapping_regions,
)


def test_the_papers_worked_example():
    metric = AttendedEntries()
    attended = torch.tensor([20 * 36, 4 * 8, 50]).expand(1, 2, 4, 3, 3)
    metric.update(attended, visual=torch.tensor([4608]), counts=torch.ones(1, 3, dtype=torch.bool))
    result = metric.compute()
    assert (result["visual"], result["context"], result["text"]) == (720, 32, 50)
    assert result["share_with_context"] == pytest.approx(752 / 4608)
    assert result["share"] == pytest.approx(720 / 4608)


def test_rows_that_do_not_count_are_left_out():
    metric = AttendedEntries()
    attended = torch.tensor([[[[[8, 0, 3], [64, 0, 3]]]], [[[[5, 0, 3], [5, 0, 3]]]]])
    metric.update(attended, torch.tensor([64, 0]), torch.tensor([[True, False], [True, True]]))
    assert metric.compute()["visual"] == 8
    assert metric.compute()["share"] == 8 / 64


def test_layers_and_heads_apart_average_to_the_whole():
    attended = torch.randint(0, 9, (3, 2, 4, 5, 3), generator=torch.Generator().manual_seed(1))
    counts = torch.tensor([[True] * 5, [True, False] * 2 + [True], [False] * 5])
    apart, whole = AttendedEntries(num_layers=2, num_heads=4), AttendedEntries()
    for metric in (apart, whole):
        metric.update(attended, torch.tensor([9, 18, 9]), counts)
    table = apart.compute()["per_head"]
    assert table.shape == (2, 4, 3)
    assert table[1, 2].tolist() == pytest.approx(
        ((attended[:2, 1, 2] * counts[:2, :, None]).sum((0, 1)) / 8).tolist()
    )
    for place, kind in enumerate(("visual", "context", "text")):
        assert apart.compute()[kind] == pytest.approx(whole.compute()[kind])
        assert float(table[..., place].mean()) == pytest.approx(whole.compute()[kind])
    with pytest.raises(ValueError, match="attended must have 2 layers, got 3"):
        AttendedEntries(num_layers=2).update(
            torch.zeros(1, 3, 1, 1, 3, dtype=torch.int64),
            torch.tensor([1]),
            torch.ones(1, 1, dtype=torch.bool),
        )
    with pytest.raises(ValueError, match="num_heads must be at least 1"):
        AttendedEntries(num_heads=0)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_counted_is_no_number_and_no_crash():
    for metric in (AttendedEntries(), RoutingAccuracy(1, 1), SelectionStatistics(1, 1), MassCoverage(1, 1)):
        metric.reset()
        for value in metric.compute().values():
            assert torch.as_tensor(value).isnan().all()


def test_overlap_by_hand():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, 2:6, 0:4] = True
    box = torch.tensor([[[[0, 1], [0, 2], [0, 2]], [[0, 1], [2, 4], [0, 2]], [[0, 1], [0, 2], [2, 4]]]])
    assert overlapping_regions(mask, box, (4, 4)).tolist() == [[True, True, False]]
    mask[0, 2:4] = False
    mask[0, 3, 0] = True
    assert overlapping_regions(mask, box, (4, 4)).tolist() == [[True, True, False]]
    assert overlapping_regions(mask, box, (4, 4), min_share=0.25).tolist() == [[False, True, False]]
    with pytest.raises(ValueError, match="min_share must be in"):
        overlapping_regions(mask, box, (4, 4), min_share=2.0)


@given(st.integers(1, 20), st.data())
def test_chance_equals_counting(total, data):
    overlapping, chosen = data.draw(st.integers(0, total)), data.draw(st.integers(0, total))
    from math import comb

    expected = 1 - comb(total - overlapping, chosen) / comb(total, chosen)
    drawn = chance_of_overlap(*(torch.tensor([n]) for n in (total, overlapping, chosen)))
    assert float(drawn) == pytest.approx(expected, abs=1e-12)


def test_random_routing_agrees_with_its_closed_form():
    generator = torch.Generator().manual_seed(0)
    tokens, regions, k = 4000, 16, 2
    draws = torch.rand(tokens, 3, 4, regions, generator=generator).argsort(-1)[..., :k]
    overlaps = torch.rand(tokens, regions, generator=generator) < 0.1
    overlaps[:, 3] = True
    metric = RoutingAccuracy(num_layers=3, num_heads=4)
    metric.update(draws, overlaps, torch.full((tokens,), regions))
    result = metric.compute()
    error = (result["mean_random"] * (1 - result["mean_random"]) / (tokens * 12)).sqrt()
    assert (result["mean"] - result["mean_random"]).abs() < 3 * error
    error = (result["union_random"] * (1 - result["union_random"]) / tokens).sqrt()
    assert (result["union"] - result["union_random"]).abs() < 3 * error
    error = (result["majority_random"] * (1 - result["majority_random"]) / tokens).sqrt()
    assert (result["majority"] - result["majority_random"]).abs() < 3 * error


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_majority_equals_enumeration(chances):
    from itertools import product

    expected = 0.0
    for hits in product((0, 1), repeat=len(chances)):
        if sum(hits) > len(chances) / 2:
            chance = 1.0
            for hit, p in zip(hits, chances, strict=True):
                chance *= p if hit else 1 - p
            expected += chance
    drawn = majority_by_chance(torch.tensor([chances], dtype=torch.float64))
    assert float(drawn) == pytest.approx(expected, abs=1e-12)


def test_the_best_head_is_found():
    index = torch.tensor([[[[0], [1]], [[2], [3]]]]).expand(5, -1, -1, -1)
    overlaps = torch.zeros(5, 4, dtype=torch.bool)
    overlaps[:, 2] = True
    metric = RoutingAccuracy(num_layers=2, num_heads=2)
    metric.update(index, overlaps, torch.full((5,), 4))
    assert metric.best_head() == (1, 0)
    assert metric.compute()["per_head"].tolist() == [[0, 0], [1, 0]]
    assert float(metric.compute()["union"]) == 1


def test_a_mask_coarser_than_the_tokens_is_refused():
    """Between two pixels of 4 there is a token of 8 that no mask could overlap."""
    box = torch.tensor([[[[0, 1], [1, 2], [0, 8]]]])
    with pytest.raises(
        ValueError, match="mask must be at least as fine as the grid of 8 x 8 tokens, got 4 x 8"
    ):
        overlapping_regions(torch.ones(1, 4, 8) > 0, box, (8, 8))
    assert overlapping_regions(torch.ones(1, 8, 8) > 0, box, (8, 8)).all()
