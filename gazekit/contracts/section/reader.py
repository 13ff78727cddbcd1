"""Reading a tree of plain values against type hints: every fault is collected, nothing is built."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from gazekit.contracts.section.call import Call, construct
from gazekit.contracts.section.conform import misfit, name_of
from gazekit.contracts.section.faults import Fault, SectionError, join, nearest
from gazekit.contracts.section.imports import admit, attempt
from gazekit.contracts.section.marks import UNIONS, offers, plain
from gazekit.contracts.section.resolve import TARGET, TargetError, public_name, resolve
from gazekit.contracts.section.signature import arguments


def check(tree: object, expect: object = typing.Any, imports: Iterable[str] = ()) -> list[Fault]:
    """Everything that is wrong with a tree, at once; empty = it can be built. Builds nothing but cheap parts.

    Args:
        tree: Mappings, sequences and scalars, as YAML or JSON gives them.
        expect: A type hint for the whole; a class that takes no `_target_` is implied by it.
        imports: Modules trusted beside gazekit; see `admit`.
    """
    opened = attempt(imports)
    reader = Reader(opened.names, opened.failed)
    reader.read(tree, expect, "")
    return [*opened.faults, *reader.faults]


def build(
    tree: object,
    expect: object = typing.Any,
    imports: Iterable[str] = (),
    offered: Mapping[str, object] = MappingProxyType({}),
) -> typing.Any:
    """Builds what a tree describes.

    >>> build({"_target_": "gazekit.contracts.Sizes", "num_layers": 2, "num_heads": 4, "num_kv_heads": 2,
    ...        "head_dim": 8, "hidden_dim": 32}).num_heads
    4

    Args:
        tree: As for `check`.
        expect: As for `check`.
        imports: As for `check`.
        offered: Arguments that parts take where they are not written, and where `expect` says so (`Implied`).

    Raises:
        SectionError: With every fault that was found.
    """
    reader = Reader(admit(imports))
    found = reader.read(tree, expect, "")
    if reader.faults:
        raise SectionError(reader.faults)
    return construct(found, offered)


class Reader:
    """Reads values against hints.

    Attributes:
        admitted: Modules trusted beside gazekit.
        absent: Modules that were to be trusted but could not be imported: a fault already, so what they hold
            is not faulted again.
        faults: What was found wrong so far, in reading order.
    """

    def __init__(self, admitted: Collection[str] = (), absent: Collection[str] = ()) -> None:
        self.admitted = admitted
        self.absent = absent
        self.faults: list[Fault] = []

    def read(self, value: object, hint: object, path: str) -> object:
        """The value converted to its hint, parts in it as calls to come; None where a fault was noted."""
        bare = plain(hint)
        if bare.implied is not None and bare.implied.target is not None and isinstance(value, Mapping):
            value = {TARGET: bare.implied.target, **value}
        if isinstance(value, Mapping) and TARGET in value:
            return self._node(value, hint, path)
        if bare.implied is not None:
            return self._refuse(path, f"must be a mapping with `{TARGET}`, got {_show(value)}")
        hint = bare.hint
        if hint in (typing.Any, object) or isinstance(hint, typing.TypeVar):
            return self._anything(value, path)
        if typing.get_origin(hint) in UNIONS:
            return self._union(value, typing.get_args(hint), path)
        if typing.get_origin(hint) is typing.Literal:
            return self._literal(value, typing.get_args(hint), path)
        if isinstance(value, Mapping) and (make := self._own_class(hint)):
            return self._call(make, value, path)
        return self._container(value, hint, path)

    def _node(self, value: Mapping, hint: object, path: str) -> object:
        """A mapping with `_target_`, read by the signature of what it names."""
        given = {key: inner for key, inner in value.items() if key != TARGET}
        target, place = value[TARGET], join(path, TARGET)
        if isinstance(target, str) and any(target.startswith(f"{name}.") for name in self.absent):
            self._anything(given, path)
            return Call(_absent, {}, path)
        try:
            if not isinstance(target, str):
                raise TargetError(
                    f"must be an import path such as gazekit.route.TopKRouter, got {_show(target)}"
                )
            make = resolve(target, self.admitted)
            reason = misfit(make, hint)
        except TargetError as error:
            self._refuse(place, error.problem, error.nearest)
            return self._anything(given, path)
        if reason:
            self._refuse(place, f"{target} {reason}")
        return self._call(make, given, path, offers(hint))

    def _call(
        self, make: Callable[..., object], given: Mapping, path: str, offered: Collection[str] = ()
    ) -> Call:
        """What a class is given, read by its signature; what the program offers need not be written."""
        known, found = arguments(make), {}
        start = len(self.faults)
        for key, value in given.items():
            if key in known:
                before = len(self.faults)
                inner = self.read(value, known[key].hint, join(path, key))
                if len(self.faults) == before:
                    found[key] = inner
            else:
                self._unknown(key, list(known), make, path)
                self._anything(value, join(path, key))
        for key, argument in known.items():
            if argument.required and key not in given and key not in offered:
                self._refuse(join(path, key), f"is missing: {public_name(make)} cannot do without it")
        call = Call(make, found, path, tuple(key for key in known if key in offered and key not in given))
        if all(key in found or not argument.required for key, argument in known.items()):
            whole = len(self.faults) == start
            self.faults += [fault for fault in call.refusals() if whole or fault.path != path]
        return call

    def _unknown(self, key: object, known: list[str], make: Callable[..., object], path: str) -> None:
        takes = f"{public_name(make)} takes" if path else "known here:"
        problem = f"is unknown; {takes} {', '.join(known) or 'nothing'}"
        self._refuse(join(path, key), problem, nearest(str(key), known))

    def _own_class(self, hint: object) -> type | None:
        """The class that a mapping without `_target_` stands for."""
        if not inspect.isclass(hint) or inspect.isabstract(hint) or getattr(hint, "_is_protocol", False):
            return None
        trusted = ("gazekit", *self.admitted)
        return hint if any(f"{hint.__module__}.".startswith(f"{name}.") for name in trusted) else None

    def _anything(self, value: object, path: str) -> object:
        """A value that no hint describes: parts inside it are read all the same."""
        if isinstance(value, Mapping):
            return {key: self.read(inner, typing.Any, join(path, key)) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.read(inner, typing.Any, join(path, place)) for place, inner in enumerate(value)]
        return value

    def _union(self, value: object, branches: Sequence[object], path: str) -> object:
        """The first branch that fits; else the faults of the one that is meant, if its place tells."""
        trials = []
        for branch in branches:
            trial = Reader(self.admitted, self.absent)
            found = trial.read(value, branch, path)
            if not trial.faults:
                return found
            trials.append(trial.faults)
        deeper = [faults for faults in trials if all(fault.path != path for fault in faults)]
        if deeper:
            self.faults += min(deeper, key=lambda faults: len(list(faults)))
            return None
        near = next((fault.nearest for faults in trials for fault in faults if fault.nearest), None)
        return self._refuse(path, f"must be {_words(branches)}, got {_show(value)}", near)

    def _literal(self, value: object, allowed: Sequence[object], path: str) -> object:
        if any(value == one and type(value) is type(one) for one in allowed):
            return value
        near = nearest(str(value), map(str, allowed))
        return self._refuse(path, f"must be {' or '.join(map(str, allowed))}, got {_show(value)}", near)

    def _container(self, value: object, hint: object, path: str) -> object:
        kind, inside = typing.get_origin(hint) or hint, typing.get_args(hint)
        if not isinstance(kind, type) or typing.get_origin(hint) is collections.abc.Callable:
            return self._refuse(path, f"must be {name_of(hint)}, written as a mapping with `{TARGET}`")
        if issubclass(kind, Mapping):
            return self._mapping(value, inside or (object, object), hint, path)
        if issubclass(kind, Iterable) and not issubclass(kind, (str, bytes, enum.Enum)):
            return self._sequence(value, kind, inside, hint, path)
        return self._scalar(value, kind, path)

    def _mapping(self, value: object, inside: Sequence[object], hint: object, path: str) -> object:
        if not isinstance(value, Mapping):
            return self._refuse(path, f"must be {name_of(hint)}, got {_show(value)}")
        return {
            self.read(key, inside[0], path): self.read(inner, inside[1], join(path, key))
            for key, inner in value.items()
        }

    def _sequence(self, value: object, kind: type, inside: Sequence, hint: object, path: str) -> object:
        if not isinstance(value, (list, tuple)):
            return self._refuse(path, f"must be {name_of(hint)}, got {_show(value)}")
        fixed = issubclass(kind, tuple) and len(inside) > 0 and inside[-1] is not ...
        if fixed and len(inside) != len(value):
            return self._refuse(path, f"must be {name_of(hint)}, got {_show(value)}")
        hints = inside if fixed else [inside[0] if inside else object] * len(value)
        items = [self.read(item, hints[place], join(path, place)) for place, item in enumerate(value)]
        if issubclass(kind, tuple):
            return tuple(items)
        return frozenset(items) if issubclass(kind, (set, frozenset, typing.AbstractSet)) else items

    def _scalar(self, value: object, kind: type, path: str) -> object:
        if kind is type(None) and value is None:
            return None
        if issubclass(kind, enum.Enum):
            return self._enum(value, kind, path)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind is Path and isinstance(value, str):
            return Path(value)
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        known = kind in (type(None), bool, int, float, str, Path)
        remedy = "" if known else f": a mapping with `{TARGET}`"
        quote = "; put it in quotes" if kind is str and not isinstance(value, (list, tuple, Mapping)) else ""
        return self._refuse(path, f"must be {name_of(kind)}{remedy}, got {_show(value)}{quote}")

    def _enum(self, value: object, kind: type[enum.Enum], path: str) -> object:
        names = {name.lower(): member for name, member in kind.__members__.items()}
        if isinstance(value, kind):
            return value
        if isinstance(value, str) and value.lower() in names:
            return names[value.lower()]
        return self._refuse(
            path, f"must be {' or '.join(names)}, got {_show(value)}", nearest(str(value), names)
        )

    def _refuse(self, path: str, problem: str, near: str | None = None) -> object:
        """Notes a fault and gives what stands in for the value."""
        self.faults.append(Fault(path, problem, near))
        return None


def _absent() -> object:
    """Stands for a part whose module could not be imported, so that nothing that holds it is tried."""
    raise AssertionError("what is absent is a fault, and what has faults is never built")


def _words(branches: Sequence[object]) -> str:
    return name_of(typing.Union[tuple(branches)])  # noqa: UP007 (a union of what is known only now)


def _show(value: object) -> str:
    shown = "null" if value is None else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
