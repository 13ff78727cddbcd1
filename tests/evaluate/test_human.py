"""Agreement with people against closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gazekit.evaluate.human import (
    MapAgreement,
    Scanpath,
    auc_judd,
    correlation,
    gaze_map,
    gaze_scanpath,
    kl_divergence,
    nss,
    scanmatch,
)

SEEDS = st.integers(0, 2**31)


def draw(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def path(*places, duration=None):
    place = torch.tensor(places, dtype=torch.float64).reshape(-1, 2)
    return Scanpath(place=place, duration=None if duration is None else torch.tensor(duration))


def test_nss_by_hand():
    map = torch.tensor([[0.0, 0.0, 0.0, 4.0]])
    assert nss(map, map > 0).item() == pytest.approx(math.sqrt(3))
    assert nss(map, map == 0).item() == pytest.approx(-1 / math.sqrt(3))
    assert nss(torch.ones(2, 2), torch.eye(2) > 0) == 0
    assert nss(map, map > 9).isnan()
    assert nss(torch.ones(1, 2), torch.zeros(1, 2) > 0).isnan()


@given(SEEDS)
def test_nss_of_everything_is_nothing_and_scale_does_not_matter(seed):
    map, fixated = draw(seed, 5, 7), draw(seed + 1, 5, 7) < 0.3
    fixated[0, 0] = True
    assert nss(map, torch.ones(5, 7) > 0).item() == pytest.approx(0, abs=1e-12)
    assert nss(3 * map + 2, fixated).item() == pytest.approx(nss(map, fixated).item())


@given(SEEDS)
def test_auc_is_the_chance_that_a_fixated_pixel_wins(seed):
    map, fixated = (draw(seed, 4, 6) * 4).round(), draw(seed + 1, 4, 6) < 0.4
    fixated[0, 0], fixated[0, 1] = True, False
    pairs = [
        (float(a > b) + float(a < b and 0) + 0.5 * float(a == b)) for a in map[fixated] for b in map[~fixated]
    ]
    assert auc_judd(map, fixated).item() == pytest.approx(sum(pairs) / len(pairs))
    assert auc_judd(map.exp(), fixated).item() == pytest.approx(sum(pairs) / len(pairs))
    assert auc_judd(-map, fixated).item() == pytest.approx(1 - sum(pairs) / len(pairs))


def test_auc_at_its_ends():
    map = torch.tensor([[1.0, 2.0, 3.0]])
    assert auc_judd(map, map > 2) == 1
    assert auc_judd(torch.ones(1, 3), map > 2) == 0.5
    assert auc_judd(map, map > 0).isnan()
    assert auc_judd(map, map > 9).isnan()


@given(SEEDS)
def test_correlation_equals_numpys(seed):
    import numpy as np

    one, other = draw(seed, 5, 6), draw(seed + 1, 5, 6)
    expected = np.corrcoef(one.flatten().numpy(), other.flatten().numpy())[0, 1]
    assert correlation(one, other).item() == pytest.approx(expected)
    assert correlation(one, 2 * one + 1).item() == pytest.approx(1)
    assert correlation(one, torch.ones(5, 6)) == 0


def test_kl_by_hand():
    human, map = torch.tensor([[0.5, 0.5]]), torch.tensor([[3.0, 1.0]])
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert kl_divergence(map, human).item() == pytest.approx(expected)
    assert kl_divergence(human, human).item() == pytest.approx(0, abs=1e-12)
    missed = kl_divergence(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
    assert missed.item() == pytest.approx(-math.log(2.220446049250313e-16), rel=1e-6)


@pytest.mark.parametrize("measure", [correlation, kl_divergence, nss, auc_judd])
def test_maps_must_match_and_hold_numbers(measure):
    fixations = measure in (nss, auc_judd)
    other = torch.ones(3, 2) > 0 if fixations else torch.ones(3, 2)
    with pytest.raises(ValueError, match="maps must be of one size"):
        measure(torch.ones(2, 2), other)
    with pytest.raises(ValueError, match="map must hold numbers"):
        measure(torch.full((3, 2), torch.nan), other)


def test_kl_needs_distributions():
    with pytest.raises(ValueError, match="map must be non-negative"):
        kl_divergence(torch.tensor([[-1.0, 2.0]]), torch.ones(1, 2))
    with pytest.raises(ValueError, match="human must be non-negative"):
        kl_divergence(torch.ones(1, 2), torch.zeros(1, 2))


def test_scanmatch_by_hand():
    # Cells of a 1 x 10 grid; the threshold of 2 makes neighbours worth a half.
    grid = {"grid": (1, 10), "threshold": 2.0}
    first = path((0.5, 0.05), (0.5, 0.55))
    assert scanmatch(first, first, **grid) == 1.0
    assert scanmatch(first, path((0.5, 0.15), (0.5, 0.55)), **grid) == pytest.approx(0.75)
    assert scanmatch(first, path((0.5, 0.05)), **grid) == pytest.approx(0.5)
    assert scanmatch(first, path((0.5, 0.05)), **grid, gap=-0.5) == pytest.approx(0.25)
    assert scanmatch(first, path((0.5, 0.95)), **grid) == 0.0
    assert scanmatch(path(), path()) == 1.0
    assert scanmatch(path(), first) == 0.0


def test_scanmatch_minds_order_and_durations():
    grid = {"grid": (1, 10), "threshold": 2.0}
    one = path((0.5, 0.05), (0.5, 0.95), duration=[100.0, 50.0])
    back = path((0.5, 0.95), (0.5, 0.05), duration=[100.0, 50.0])
    assert scanmatch(one, back, **grid) == pytest.approx(0.5)
    longer = path((0.5, 0.05), (0.5, 0.95), duration=[50.0, 50.0])
    assert scanmatch(one, longer, **grid) == 1.0
    assert scanmatch(one, longer, **grid, bin_width=50.0) == pytest.approx(2 / 3)


@given(SEEDS, st.integers(1, 6), st.integers(1, 6))
def test_scanmatch_is_symmetric_and_highest_for_itself(seed, first, second):
    one, other = Scanpath(place=draw(seed, first, 2)), Scanpath(place=draw(seed + 1, second, 2))
    assert scanmatch(one, other) == pytest.approx(scanmatch(other, one))
    assert scanmatch(one, one) == 1.0
    assert scanmatch(one, other) <= 1.0


def test_a_path_out_of_bounds_is_refused():
    with pytest.raises(ValueError, match=r"place must be in \[0, 1\]"):
        path((3.0, 0.5))
    with pytest.raises(ValueError, match="duration must align with place, got 2 for 1"):
        path((0.5, 0.5), duration=[1.0, 2.0])
    with pytest.raises(ValueError, match="duration must be positive"):
        path((0.5, 0.5), duration=[0.0])
    with pytest.raises(ValueError, match="bin_width needs durations"):
        scanmatch(path((0.5, 0.5)), path((0.5, 0.5)), bin_width=10.0)
    with pytest.raises(ValueError, match="scanmatch needs a grid of at least"):
        scanmatch(path(), path(), gap=1.0)


BOX = torch.tensor([[[0, 1], [y, y + 2], [x, x + 2]] for y in (0, 2) for x in (0, 2)])
"""Four regions of 2 x 2 tokens of one image."""


def test_a_map_of_gaze_by_hand():
    index = torch.tensor([[0, 1], [0, -1]])
    shown = gaze_map(index, BOX, (8, 8))
    assert shown.sum().item() == pytest.approx(1)
    assert shown[0, 0].item() == pytest.approx(2 / 3 / 16)
    assert shown[0, 7].item() == pytest.approx(1 / 3 / 16)
    assert not shown[4:].any()
    assert not gaze_map(index, BOX, (8, 8), unit=1).any()
    assert not gaze_map(torch.full((2, 2), -1), BOX, (8, 8)).any()


def test_a_path_of_gaze_by_hand():
    index = torch.tensor([[[0], [0]], [[0], [3]], [[-1], [-1]], [[3], [3]]])
    found = gaze_scanpath(index, BOX)
    assert found.place.tolist() == [[0.25, 0.25], [0.75, 0.75]]
    assert found.duration.tolist() == [2.0, 1.0]
    assert gaze_scanpath(index, BOX, unit=1).place.shape == (0, 2)


def test_agreement_is_the_mean_of_what_each_image_has():
    fixated = torch.eye(2) > 0
    one, other = torch.tensor([[3.0, 1.0], [1.0, 3.0]]), torch.tensor([[1.0, 3.0], [3.0, 1.0]])
    metric = MapAgreement()
    metric.update(
        one, fixated=fixated, human=one, scanpath=path((0.1, 0.1)), humans=[path((0.1, 0.1)), path()]
    )
    metric.update(other, fixated=fixated)
    found = metric.compute()
    assert found["nss"] == pytest.approx(0)
    assert found["auc_judd"] == pytest.approx(0.5)
    assert (found["cc"], found["kl"], found["scanmatch"]) == pytest.approx((1.0, 0.0, 0.5))


@given(SEEDS)
def test_auc_is_the_area_that_scikit_learn_finds(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    map, fixated = (draw(seed, 6, 7) * 8).round(), draw(seed + 1, 6, 7) < 0.3
    fixated[0, 0], fixated[0, 1] = True, False
    area = metrics.roc_auc_score(fixated.flatten().numpy(), map.flatten().numpy())
    assert auc_judd(map, fixated).item() == pytest.approx(area)


@given(SEEDS, st.integers(1, 12))
def test_the_originals_straight_lines_lie_above_by_what_is_documented(seed, count):
    import numpy as np

    map = draw(seed, 6, 7)
    fixated = torch.zeros(42, dtype=torch.bool)
    fixated[draw(seed + 1, 42).argsort()[:count]] = True
    said, fixated = map.flatten().numpy(), fixated.view(6, 7)
    others = 42 - count
    hits, alarms = [0.0], [0.0]
    for place, threshold in enumerate(np.sort(said[fixated.flatten().numpy()])[::-1], start=1):
        hits.append(place / count)
        alarms.append(((said >= threshold).sum() - place) / others)
    original = np.trapezoid([*hits, 1.0], [*alarms, 1.0])
    assert original - auc_judd(map, fixated).item() == pytest.approx(alarms[-1] / (2 * count))


@given(SEEDS)
def test_correlation_and_divergence_are_those_of_scipy(seed):
    stats = pytest.importorskip("scipy.stats")
    one, other = draw(seed, 5, 6) + 0.01, draw(seed + 1, 5, 6) + 0.01
    flat = one.flatten().numpy(), other.flatten().numpy()
    assert correlation(one, other).item() == pytest.approx(stats.pearsonr(*flat).statistic)
    assert kl_divergence(one, other).item() == pytest.approx(stats.entropy(flat[1], flat[0]), abs=1e-12)
    fixated = other > 0.6
    assert not fixated.any() or nss(one, fixated).item() == pytest.approx(
        stats.zscore(flat[0])[fixated.flatten().numpy()].mean()
    )
