"""Notes on a type hint that say how it is written down."""

from __future__ import annotations

import typing
from dataclasses import dataclass


@dataclass(frozen=True)
class Written:
    """In `Annotated[T, Written(hint)]`: what is written down follows `hint`, whatever the field holds later."""

    hint: object


@dataclass(frozen=True)
class Implied:
    """In `Annotated[T, Implied(target)]`: a mapping without `_target_` is one of these; another must be a kind of it.

    Attributes:
        target: An import path; None = the mapping must name its target itself.
    """

    target: str | None


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
