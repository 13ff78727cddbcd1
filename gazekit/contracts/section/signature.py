"""What a class or function takes: its signature is its schema."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass

_BY_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Argument:
    """One argument.

    Attributes:
        hint: Its type; `Any` where it has none, or one that only a type checker can import.
        required: It has no default.
    """

    hint: object
    required: bool


def arguments(make: Callable[..., object]) -> dict[str, Argument]:
    """What can be given by keyword. What `**kwargs` would swallow is not among it."""
    hints = _hints(make)
    return {
        name: Argument(hints.get(name, typing.Any), parameter.default is inspect.Parameter.empty)
        for name, parameter in inspect.signature(make).parameters.items()
        if parameter.kind in _BY_KEYWORD
    }


def returns(make: Callable[..., object]) -> object:
    """What a call gives: the class itself, or what a function's annotation says; None = it says nothing."""
    return make if inspect.isclass(make) else _evaluated(make).get("return")


def _hints(make: Callable[..., object]) -> dict[str, object]:
    if not inspect.isclass(make):
        return _evaluated(make)
    builder = next(klass for klass in make.__mro__ if "__init__" in vars(klass))
    fields = _evaluated(builder) if dataclasses.is_dataclass(builder) else {}
    own = _evaluated(vars(builder)["__init__"])
    hints = {**fields, **own}
    return {
        name: hint.type if isinstance(hint, dataclasses.InitVar) else hint for name, hint in hints.items()
    }


def _evaluated(owner: Callable[..., object]) -> dict[str, object]:
    """Type hints with their strings evaluated; those that cannot be are left out, one by one."""
    try:
        return typing.get_type_hints(owner, include_extras=True)
    except NameError:
        pass
    hints: dict[str, object] = {}
    for klass in reversed(inspect.getmro(owner)) if inspect.isclass(owner) else (owner,):
        names = vars(sys.modules[klass.__module__])
        for name, written in inspect.get_annotations(klass).items():
            try:
                hints[name] = eval(written, names) if isinstance(written, str) else written
            except NameError:  # imported for type checkers alone
                hints.pop(name, None)
    return hints
