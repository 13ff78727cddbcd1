"""Notes on a type hint that say how it is written down."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass

UNIONS = (typing.Union, types.UnionType)


@dataclass(frozen=True)
class Written:
    """In `Annotated[T, Written(hint)]`: what is written down follows `hint`, whatever the field may hold."""

    hint: object


@dataclass(frozen=True)
class Implied:
    """In `Annotated[T, Implied(target)]`: a mapping without `_target_` is one of these.

    Attributes:
        target: An import path; what names another target must be a kind of it. None = any target, but it
            must be named.
        offers: Arguments that the program has at hand when it builds the part: they need not be written.
    """

    target: str | None
    offers: tuple[str, ...] = ()


Node = typing.Annotated[object, Implied(None)]
"""A mapping that names its `_target_`."""


@dataclass(frozen=True)
class Plain:
    """A hint without its notes.

    Attributes:
        hint: No `Annotated`, no alias.
        implied: The last `Implied` among the notes.
    """

    hint: object
    implied: Implied | None = None


def plain(hint: object) -> Plain:
    """Takes the notes off a hint; `Written` replaces it."""
    implied: Implied | None = None
    while typing.get_origin(hint) is typing.Annotated:
        hint, *marks = typing.get_args(hint)
        implied = next((mark for mark in marks if isinstance(mark, Implied)), implied)
        hint = next((mark.hint for mark in marks if isinstance(mark, Written)), hint)
    return Plain(getattr(hint, "__value__", getattr(hint, "__supertype__", hint)), implied)


def offers(hint: object) -> tuple[str, ...]:
    """What the program offers to the part that a hint asks for."""
    bare = plain(hint)
    if bare.implied is not None:
        return bare.implied.offers
    branches = typing.get_args(bare.hint) if typing.get_origin(bare.hint) in UNIONS else ()
    return tuple(name for branch in branches for name in offers(branch))
