"""The laws of schedules."""

from collections.abc import Mapping
from itertools import pairwise

from hypothesis import strategies as st

from gazekit.contracts import Schedule
from gazekit.testing.laws.law import law, run


def _points() -> st.SearchStrategy[tuple[float, float]]:
    """Two points of training, the earlier one first."""
    progress = st.floats(0, 1, allow_subnormal=False)
    return st.tuples(progress, progress).map(lambda pair: (min(pair), max(pair)))


def _moments() -> st.SearchStrategy[None]:
    return st.none()


@law(_points)
def within_bounds(part: Schedule, case: tuple[float, float]) -> None:
    """Openness is a number in [0, 1]."""
    for progress in case:
        openness = part(progress)
        assert isinstance(openness, float), f"openness at {progress} is a {type(openness).__name__}"
        assert 0 <= openness <= 1, f"openness at {progress} is {openness}"


@law(_points)
def never_rises(part: Schedule, case: tuple[float, float]) -> None:
    """Openness later in training is at most what it was earlier."""
    points = sorted({*case, *(step / 100 for step in range(101))})
    for early, late in pairwise(points):
        assert part(late) <= part(early), f"openness {part(early)} at {early}, {part(late)} at {late}"


@law(_moments)
def starts_dense(part: Schedule, case: None) -> None:
    """Openness is 1 at the start of training."""
    assert part(0.0) == 1, f"openness at 0 is {part(0.0)}"


@law(_moments)
def ends_at_the_target(part: Schedule, case: None) -> None:
    """Openness is 0 at the end of training."""
    assert part(1.0) == 0, f"openness at 1 is {part(1.0)}"


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
