"""Ways to look with the weights of one model: as it was saved, at everything, by lot, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

from gazekit.contracts import Router
from gazekit.evaluate.responding import Question, Responder
from gazekit.gaze import Gaze, install
from gazekit.models import CambrianConfig
from gazekit.route import RandomRouter

SYSTEMS = ("gaze", "dense", "random", "eviction")
"""As it was saved; at everything; by lot; at what the question picked once."""


def gazes_of(model: Any) -> list[Gaze]:
    """A model's compositions, which cycle over its layers; none where attention is stock."""
    return list(getattr(model, "gazes", None) or ())


def dense(gaze: Gaze) -> Gaze:
    """The composition without routing."""
    return _each(gaze, lambda one: replace(one, route=None))


def random(gaze: Gaze, seed: int = 0) -> Gaze:
    """The composition with regions by lot, as many as its router takes.

    Raises:
        ValueError: A router has no fixed number of regions.
    """

    def draw(one: Gaze) -> Gaze:
        if one.route is None:
            return one
        return replace(one, route=RandomRouter(k=regions_taken(one.route), seed=seed))

    return _each(gaze, draw)


def limited(gaze: Gaze, k: int) -> Gaze:
    """The composition with `k` regions for each query.

    Raises:
        ValueError: A router has no fixed number of regions.
    """
    return _each(gaze, lambda one: one if one.route is None else replace(one, route=_with(one.route, k)))


def regions_taken(route: Router) -> int:
    """Regions that a router takes, its own or those of the router that it wraps.

    Raises:
        ValueError: It has no fixed number.
    """
    inner: Any = route
    while inner is not None:
        if hasattr(inner, "k"):
            return int(inner.k)
        inner = getattr(inner, "inner", None)
    raise ValueError(
        f"systems: this needs a router with a fixed k, and {type(route).__name__} has none; measure gaze and "
        "dense alone"
    )


def look_as(model: Any, gazes: Sequence[Gaze]) -> None:
    """Has a model look another way from now on; what its config.json says stays.

    Args:
        model: A Cambrian, or a VLM that gaze was applied to.
        gazes: At least one composition, with the same context tokens as the model's.
    """
    install(_decoder(model), list(gazes))
    model.__dict__["gazes"] = tuple(gazes)


@contextmanager
def looking(model: Any, gazes: Sequence[Gaze]) -> Iterator[None]:
    """Has a model look another way meanwhile; parts that both have keep their weights.

    Args:
        model: As for `look_as`.
        gazes: Likewise.
    """
    before = gazes_of(model)
    look_as(model, gazes)
    try:
        yield
    finally:
        look_as(model, before)


def k_within(model: Any, processor: Any, question: Question, budget: float) -> int:
    """The most regions with which a query attends at most a share of the visual tokens.

    It is solved on one question, by looking: what its answering query attends, over all layers, those that never route
    included. What all questions come to is measured with their answers.

    Args:
        model: One that routes.
        processor: Its own.
        question: One that shows what the benchmark shows.
        budget: Share of the visual tokens, above 0 and at most 1; context tokens are not counted.

    Raises:
        ValueError: The budget is out of range, the question shows nothing, or even one region is too much.
    """
    if not 0 < budget <= 1:
        raise ValueError(f"budget must be above 0 and at most 1, a share of the visual tokens, got {budget}")
    gazes, responder = gazes_of(model), Responder(model, processor)

    def share(k: int) -> float:
        with looking(model, [limited(gaze, k) for gaze in gazes]):
            seen = responder.respond([question], max_new_tokens=1)[0].attended
        if not seen.get("visual_tokens"):
            raise ValueError("budget needs a question that shows something, got one without visual tokens")
        return seen["visual"] / seen["visual_tokens"]

    if (least := share(1)) > budget:
        raise ValueError(
            f"budget must allow one region for each query, which is {least:.4f} of the visual tokens here, got "
            f"{budget}; use smaller regions"
        )
    low, high = 1, 2
    while share(high) <= budget:
        if share(2 * high) == share(high):  # All regions are in view.
            return high
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share(middle) <= budget else (low, middle)
    return low


def _decoder(model: Any) -> Any:
    return (
        model.language_model if model.config.model_type == CambrianConfig.model_type else model.get_decoder()
    )


def _each(gaze: Gaze, change: Callable[[Gaze], Gaze]) -> Gaze:
    """The composition, or each of its branches, changed."""
    if gaze.branches:
        return replace(gaze, branches=tuple(change(one) for one in gaze.branches))
    return change(gaze)


def _with(route: Any, k: int) -> Any:
    regions_taken(route)
    if any(field.name == "k" for field in fields(route)) if is_dataclass(route) else hasattr(route, "k"):
        return replace(route, k=k)
    return replace(route, inner=_with(route.inner, k))
