"""How cases are drawn: reproducibly, whatever global generator is used meanwhile."""

import random
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from hypothesis import strategies as st

# hypothesis's own DrawFn is a protocol that cannot be checked when a test runs.
Draw = Callable[..., Any]
T = TypeVar("T")
P = ParamSpec("P")


def composite(function: Callable[Concatenate[Draw, P], T]) -> Callable[P, st.SearchStrategy[T]]:
    """Hypothesis's `composite`, drawn as `calm` does."""

    @wraps(function)
    def drawn(draw: Draw, /, *args: P.args, **kwargs: P.kwargs) -> T:
        state = random.getstate()
        try:
            return function(draw, *args, **kwargs)
        finally:
            random.setstate(state)

    return st.composite(drawn)


@composite
def calm(draw: Draw, strategy: st.SearchStrategy) -> Any:
    """Draws with Python's global generator left as it was.

    Type checks at run time look at elements of lists by chance, which hypothesis takes for a strategy that is
    not reproducible.
    """
    return draw(strategy)


def seeds() -> st.SearchStrategy[int]:
    """Seeds of the generators that fill tensors."""
    return st.integers(0, 2**16)


def generator(seed: int) -> torch.Generator:
    """A generator of its own, so that no global state decides a case."""
    return torch.Generator().manual_seed(seed)
