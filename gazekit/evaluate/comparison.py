"""Is one system better than another, or was it luck?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gazekit.evaluate.results import Record, Result

_CHUNK = 256


@dataclass(frozen=True)
class Interval:
    """A mean and where 95 % of its bootstrap lies; NaN where there is one group alone, which says nothing of spread."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same samples of one benchmark.

    Attributes:
        benchmark: Task name.
        profile: Whose prompts and scorers.
        scores: The benchmark's own figures of the first and the second, by name.
        first: Mean score of a sample, first system.
        second: Mean score of a sample, second system.
        difference: Second less first, over the same draws of samples.
        chance: Share of draws on the other side of zero, twice, that of the samples as they are among them, so that it
            is never 0: small = the difference is hardly luck. 1 with one group alone.
        samples: How many.
        groups: How many groups of samples were drawn from; as many as samples where each stands alone.
        differing: Settings in which the two differ, as `(first, second)` by name.
    """

    benchmark: str
    profile: str
    scores: Mapping[str, tuple[float | None, float | None]]
    first: Interval
    second: Interval
    difference: Interval
    chance: float
    samples: int
    groups: int
    differing: Mapping[str, tuple[object, object]]


def compare(first: Result, second: Result, *, resamples: int = 2000, seed: int = 0) -> Comparison:
    """Sets two results side by side, with intervals of a paired bootstrap over groups of samples.

    The intervals are those of the mean score of a sample. Figures that are no such mean (MME's sum, circular accuracy)
    stand beside without one.

    Args:
        first: One result.
        second: Another, of the same samples.
        resamples: Draws.
        seed: Of the draws.

    Raises:
        ValueError: The two are of different benchmarks, profiles, samples or groups, there is no sample, samples share
            an id, or fewer than 100 draws are asked for.
    """
    if resamples < 100:
        raise ValueError(f"resamples must be at least 100 for an interval, got {resamples}")
    for name in ("benchmark", "profile"):
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            raise ValueError(f"results must be of one {name} to be compared, got {one} and {other}")
    mine, theirs = (_by_id(result) for result in (first, second))
    if mine.keys() != theirs.keys():
        alone = sorted(mine.keys() ^ theirs.keys())
        raise ValueError(
            f"results must be of the same samples to be compared: {len(alone)} of {first.benchmark} are in one of them "
            f"alone ({', '.join(alone[:3])} ...); evaluate both with the same --limit"
        )
    if not mine:
        raise ValueError(f"there is no sample of {first.benchmark} to compare")
    ids = sorted(mine)
    scores = np.array([[mine[one].score, theirs[one].score] for one in ids])
    if apart := [one for one in ids if mine[one].group != theirs[one].group]:
        raise ValueError(
            f"results must group their samples alike to be compared, got {mine[apart[0]].group!r} and "
            f"{theirs[apart[0]].group!r} for {apart[0]}; evaluate both with one version"
        )
    groups = [mine[one].group or f"\0{one}" for one in ids]
    draws, number = _bootstrap(scores, groups, resamples, seed)
    difference = draws[:, 1] - draws[:, 0]
    means = scores.mean(0)
    below, above = ((1 + int((sign * difference >= 0).sum())) / (1 + resamples) for sign in (-1, 1))
    names = dict.fromkeys([*first.scores, *second.scores])
    return Comparison(
        benchmark=first.benchmark,
        profile=first.profile,
        scores={name: (first.scores.get(name), second.scores.get(name)) for name in names},
        first=_interval(means[0], draws[:, 0], number),
        second=_interval(means[1], draws[:, 1], number),
        difference=_interval(means[1] - means[0], difference, number),
        chance=min(1.0, 2 * min(below, above)) if number > 1 else 1.0,
        samples=len(ids),
        groups=number,
        differing=_differing(first, second),
    )


def _bootstrap(scores: np.ndarray, groups: list[str], resamples: int, seed: int) -> tuple[np.ndarray, int]:
    """Means of both systems in each draw of groups with replacement, and the number of groups."""
    _, group = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    number = int(group.max()) + 1
    table = np.zeros((number, 3))
    np.add.at(table, group, np.column_stack([scores, np.ones(len(scores))]))
    rng = np.random.default_rng(seed)
    draws = []
    for start in range(0, resamples, _CHUNK):
        times = rng.multinomial(number, np.full(number, 1 / number), size=min(_CHUNK, resamples - start))
        total = times @ table
        draws.append(total[:, :2] / total[:, 2:])
    return np.concatenate(draws), number


def _by_id(result: Result) -> dict[str, Record]:
    """Records by id."""
    found = {one.id: one for one in result.records}
    if len(found) < len(result.records):
        twice = next(name for name, times in Counter(one.id for one in result.records).items() if times > 1)
        raise ValueError(
            f"samples must have ids of their own, got {twice!r} more than once in a result of {result.benchmark}"
        )
    return found


def _interval(mean: float, draws: np.ndarray, number: int) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975]) if number > 1 else (np.nan, np.nan)
    return Interval(float(mean), float(low), float(high))


def _differing(first: Result, second: Result) -> dict[str, tuple[object, object]]:
    """Settings, models and systems in which the two differ; a reader should know them."""
    one = {"model": first.model, "system": first.system, **first.settings}
    other = {"model": second.model, "system": second.system, **second.settings}
    names = dict.fromkeys([*one, *other])
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}
