"""The laws of schedules."""

from collections.abc import Mapping
from itertools import pairwise

from hypothesis import strategies as st

from gazekit.contracts import Schedule
from gazekit.testing.laws.law import law, run


def _points() -> st.SearchStrategy[tuple[float, float, float]]:
    """Two points of training, and the depth of a layer."""
    share = st.floats(0, 1, allow_subnormal=False)
    return st.tuples(share, share, _depths())


def _depths() -> st.SearchStrategy[float]:
    """The place of a layer, of the first and the last one often."""
    return st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1, allow_subnormal=False))


@law(_points)
def within_bounds(part: Schedule, case: tuple[float, float, float]) -> None:
    """Openness is a number in [0, 1]."""
    for progress in case[:2]:
        openness = part(progress, case[2])
        assert isinstance(openness, float), f"openness at {progress} is a {type(openness).__name__}"
        assert 0 <= openness <= 1, f"openness at {progress} is {openness}"


@law(_points)
def never_rises(part: Schedule, case: tuple[float, float, float]) -> None:
    """Openness of a layer later in training is at most what it was earlier."""
    points, depth = sorted({*case[:2], *(step / 100 for step in range(101))}), case[2]
    for early, late in pairwise(points):
        before, after = part(early, depth), part(late, depth)
        assert after <= before, f"openness {before} at {early}, {after} at {late}"


@law(_depths)
def starts_dense(part: Schedule, case: float) -> None:
    """Openness of every layer is 1 at the start of training."""
    assert part(0.0, case) == 1, f"openness at 0 is {part(0.0, case)}"


@law(_depths)
def ends_at_the_target(part: Schedule, case: float) -> None:
    """Openness of every layer is 0 at the end of training."""
    assert part(1.0, case) == 0, f"openness at 1 is {part(1.0, case)}"


LAWS = (within_bounds, never_rises, starts_dense, ends_at_the_target)


def check_schedule(part: Schedule, *, omit: Mapping[str, str] | None = None) -> None:
    """Checks a schedule against every law of its room.

    Args:
        part: Gives openness at a point of training.
        omit: Laws that do not apply, by name, each with the reason.

    Raises:
        AssertionError: It breaks a law; the message names it and shows the smallest case found.
        ValueError: An omission names no law, or gives no reason.
    """
    run(LAWS, part, omit)
