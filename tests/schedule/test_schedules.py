import itertools
import math

import pytest

from gazekit.contracts import Schedule
from gazekit.schedule import ConstantSchedule, LayeredSchedule, ProgressiveSchedule
from tests.scenes import unchecked

SHAPES = ["linear", "cosine", "exponential", "steps"]


@pytest.mark.parametrize("shape", SHAPES)
def test_starts_dense_ends_at_the_target_and_never_rises(shape):
    schedule = ProgressiveSchedule(shape=shape, start=0.2, end=0.7)
    curve = [schedule(step / 1000) for step in range(1001)]
    assert curve[:201] == [1.0] * 201
    assert curve[700:] == [0.0] * 301
    assert all(later <= earlier for earlier, later in itertools.pairwise(curve))
    assert 0 < schedule(0.5) < 1


@pytest.mark.parametrize(
    ("shape", "middle"),
    [("linear", 0.75), ("cosine", 0.5 + 0.25 * math.sqrt(2)), ("exponential", 0.2816), ("steps", 0.75)],
)
def test_a_quarter_of_the_way(shape, middle):
    assert ProgressiveSchedule(shape=shape, start=0.0, end=1.0)(0.25) == pytest.approx(middle, abs=1e-4)


def test_steps_are_four_equal_drops():
    schedule = ProgressiveSchedule(shape="steps", end=1.0)
    assert sorted({schedule(step / 100) for step in range(101)}) == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_constant_stays():
    assert [ConstantSchedule(openness=0.25)(progress) for progress in (0.0, 0.5, 1.0)] == [0.25] * 3
    assert ConstantSchedule()(0.0) == 0.0


def test_they_are_schedules():
    assert isinstance(ConstantSchedule(), Schedule)
    assert isinstance(ProgressiveSchedule(), Schedule)


def test_refuses_an_unknown_shape_and_names_the_nearest():
    with (
        unchecked(),
        pytest.raises(ValueError, match=r"shape must be one of linear, .* did you mean 'cosine'\?"),
    ):
        ProgressiveSchedule(shape="cosin")


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.6, 0.5), (-0.1, 0.5), (0.0, 1.1), (0.0, math.nan)])
def test_refuses_bounds_that_are_no_interval(start, end):
    with pytest.raises(ValueError, match="start and end must satisfy 0 <= start < end <= 1, got"):
        ProgressiveSchedule(start=start, end=end)


@pytest.mark.parametrize("openness", [-0.1, 1.1, math.nan])
def test_refuses_openness_outside_its_range(openness):
    with pytest.raises(ValueError, match=r"openness must lie in \[0, 1\], got"):
        ConstantSchedule(openness=openness)


def test_deep_layers_start_first_and_all_end_together_with_training():
    schedule = LayeredSchedule(inner=ProgressiveSchedule(end=1.0), lag=0.5)
    depths = (0.0, 0.5, 1.0)
    assert [schedule(0.25, depth) for depth in depths] == [1.0, 1.0, 0.5]
    assert [schedule(0.5, depth) for depth in depths] == [1.0, 0.5, 0.0]
    assert [schedule(1.0, depth) for depth in depths] == [0.0, 0.0, 0.0]
    shallow = LayeredSchedule(inner=ProgressiveSchedule(end=1.0), lag=0.5, first="shallow")
    assert [shallow(0.25, depth) for depth in depths] == [0.5, 1.0, 1.0]
    assert isinstance(schedule, Schedule)


@pytest.mark.parametrize("lag", [0.0, 1.0, -0.5])
def test_refuses_a_lag_that_leaves_no_time_or_is_none(lag):
    with pytest.raises(ValueError, match=r"lag must lie in \(0, 1\), got"):
        LayeredSchedule(inner=ProgressiveSchedule(), lag=lag)


def test_refuses_layers_that_are_neither():
    with unchecked(), pytest.raises(ValueError, match='first must be "deep" or "shallow", got \'late\''):
        LayeredSchedule(inner=ProgressiveSchedule(), first="late")
