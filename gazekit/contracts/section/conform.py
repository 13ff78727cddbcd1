"""Whether what a target makes can stand where a type hint asks for something."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path

from gazekit.contracts.section.marks import UNIONS, plain
from gazekit.contracts.section.resolve import TARGET, resolve
from gazekit.contracts.section.signature import returns


def misfit(make: Callable[..., object], hint: object) -> str | None:
    """Why the products of `make` cannot stand for `hint`; None = they can.

    A class fits a protocol that it has the methods of, callable with as many arguments. A function is judged
    by its return annotation.
    """
    bare = plain(hint)
    hint = resolve(bare.implied.target) if bare.implied and bare.implied.target else bare.hint
    if hint in (typing.Any, object):
        return None
    if typing.get_origin(hint) in UNIONS:
        branches = [branch for branch in typing.get_args(hint) if branch is not type(None)]
        reasons = [misfit(make, branch) for branch in branches]
        return None if None in reasons else max(filter(None, reasons), key=len)
    product = returns(make)
    if not isinstance(product, type):
        return f"is a function that does not say what it returns, where {name_of(hint)} is asked for"
    wanted = typing.get_origin(hint) or hint
    if wanted is collections.abc.Callable:
        return None if _method(product, "__call__") else "cannot be called"
    if not isinstance(wanted, type):
        return f"is not {name_of(hint)}"
    if getattr(wanted, "_is_protocol", False):
        return _breaks(product, wanted)
    return None if issubclass(product, wanted) else f"is not {_a(wanted)}"


def _breaks(product: type, protocol: type) -> str | None:
    """Which member of a protocol a class lacks."""
    if protocol in product.__mro__:
        return None
    for name, member in vars(protocol).items():
        if inspect.isfunction(member) and (name == "__call__" or not name.startswith("_")):
            method = _method(product, name)
            if method is None:
                return f"is not {_a(protocol)}: it has no {name}"
            if not _takes(method, _positional(member)):
                shown = ", ".join(_positional(member))
                return f"is not {_a(protocol)}: its {name} does not take ({shown})"
        elif isinstance(member, property) and _lacks(product, name):
            return f"is not {_a(protocol)}: it has no {name}"
    return None


def _method(klass: type, name: str) -> Callable[..., object] | None:
    """A method as the class's own instances see it; a module's call is its `forward`."""
    found = next((vars(base)[name] for base in klass.__mro__ if name in vars(base)), None)
    if name == "__call__" and found is not None and hasattr(klass, "forward"):
        return klass.forward
    return found


def _lacks(klass: type, name: str) -> bool:
    """Whether an attribute is missing for certain: only a dataclass shows all that it holds."""
    if not dataclasses.is_dataclass(klass):
        return False
    return not hasattr(klass, name) and name not in {field.name for field in dataclasses.fields(klass)}


def _positional(function: Callable[..., object]) -> list[str]:
    """The arguments that stand before any keyword, `self` aside."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds][1:]


def _takes(method: Callable[..., object], given: list[str]) -> bool:
    try:
        inspect.signature(method).bind(None, *given)
    except TypeError:
        return False
    return True


def name_of(hint: object) -> str:
    """A type hint in the words of an error message."""
    implied = plain(hint).implied
    if implied is not None:
        return f"a {implied.target}" if implied.target else f"a mapping with `{TARGET}`"
    if hint is None or hint is type(None):
        return "null"
    if hint in (typing.Any, object):
        return "anything"
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        return " or ".join(name_of(branch) for branch in inside)
    if origin is typing.Literal:
        return " or ".join(map(str, inside))
    if origin is tuple and inside[-1:] != (...,):
        return f"a list of {len(inside)} ({', '.join(map(name_of, inside))})"
    if origin in (dict, types.MappingProxyType) or getattr(origin, "__name__", "") == "Mapping":
        return f"a mapping to {name_of(inside[-1])}"
    if origin is not None and isinstance(origin, type):
        return f"a list of {name_of(inside[0])}"
    return _a(hint) if isinstance(hint, type) else str(hint)


def _a(hint: type) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}
    return words.get(hint) or f"a {hint.__name__}"
