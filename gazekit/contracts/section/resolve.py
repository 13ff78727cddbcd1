"""From an import path to a class, without ever leaving the modules that are trusted."""

from __future__ import annotations

import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Collection, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from gazekit.contracts.section.faults import nearest

TARGET = "_target_"
"""The key that names a class by its import path."""

HOME = "gazekit"
"""What may always be named."""


class TargetError(ValueError):
    """A target that cannot be had.

    Attributes:
        problem: Why.
        nearest: The target that was probably meant, if any.
    """

    def __init__(self, problem: str, meant: str | None = None) -> None:
        self.problem = problem
        self.nearest = meant
        super().__init__(problem + (f"; did you mean `{meant}`?" if meant else ""))


def resolve(target: str, admitted: Collection[str] = ()) -> Callable[..., object]:
    """The class that an import path names, or a function of a user's own module.

    Every step but the last must be a module inside its parent, so that no path reaches another package
    through what a module happens to have imported (`gazekit.recipe.load.os.system`); and what is found must
    itself have been defined in a trusted module.

    Args:
        target: For example `gazekit.route.TopKRouter`.
        admitted: Names of modules that are trusted beside gazekit; see `admit`.

    Returns:
        A class that can be instantiated, or a function from a module in `admitted`.

    Raises:
        TargetError: It is not trusted, does not exist, or is no part.
    """
    trusted = {HOME, *admitted}
    root = max((name for name in trusted if target.startswith(f"{name}.")), key=len, default=None)
    if root is None:
        top = target.split(".")[0]
        raise TargetError(
            f"{target} is neither in gazekit nor in a module under `imports:`; "
            f"list {top} there if you trust it",
            _meant(target, trusted),
        )
    module = import_module(root)
    *steps, name = target.removeprefix(f"{root}.").split(".")
    for step in steps:
        inner = _submodule(module, step)
        if inner is None:
            raise TargetError(f"{module.__name__} has no module {step}", _meant(target, trusted))
        module = inner
    found = _member(module, name)
    if found is None:
        raise TargetError(f"{module.__name__} has no part {name}", _meant(target, trusted))
    if reason := _no_part(found, trusted):
        raise TargetError(f"{target} {reason}")
    return found


def _member(module: ModuleType, name: str) -> Any:
    """What a module shows under a name, loaded now if it is lazy; None = nothing."""
    try:
        return None if name.startswith("_") else getattr(module, name, None)
    except ImportError as error:
        raise TargetError(f"{module.__name__}.{name} cannot be imported here: {error}") from error


def _no_part(found: object, trusted: Collection[str]) -> str | None:
    """Why something cannot be a target; None = it can."""
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        return "is neither a class nor a function"
    if not _is_inside(found.__module__, trusted):
        return f"comes from {found.__module__}, which is neither gazekit nor under `imports:`"
    if inspect.isfunction(found) and _is_inside(found.__module__, [HOME]):
        return (
            "is a function; of gazekit only classes can be named, so that building never does anything else"
        )
    if inspect.isabstract(found) or getattr(found, "_is_protocol", False):
        return "is a contract, not a part that fulfils it"
    return None


def _is_inside(module: str, trusted: Collection[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in trusted)


def _submodule(module: ModuleType, step: str) -> ModuleType | None:
    """The module of that name inside a package; None where there is none, whatever else bears the name."""
    name = f"{module.__name__}.{step}"
    if not step.isidentifier() or step.startswith("_") or not hasattr(module, "__path__"):
        return None
    if importlib.util.find_spec(name) is None:
        return None
    try:
        inner = import_module(name)
    except ImportError as error:
        raise TargetError(f"{name} cannot be imported here: {error}") from error
    return inner if inner.__name__ == name else None


def public_name(part: Callable[..., object]) -> str:
    """The shortest import path that finds a part: its room's, where the room shows it.

    >>> from gazekit.contracts import Sizes
    >>> public_name(Sizes)
    'gazekit.contracts.Sizes'
    """
    steps = part.__module__.split(".")
    shortest = 2 if steps[0] == HOME else 1
    for count in range(shortest, len(steps)):
        home = ".".join(steps[:count])
        if getattr(import_module(home), part.__name__, None) is part:
            return f"{home}.{part.__name__}"
    return f"{part.__module__}.{part.__qualname__}"


def _meant(target: str, trusted: Collection[str]) -> str | None:
    """The target that a mistyped one comes nearest to."""
    *steps, name = target.split(".")
    for module in _near_modules(steps, trusted):
        if close := nearest(name, _parts(module, trusted)):
            return f"{module.__name__}.{close}"
    shown = nearest(name, dir(import_module(HOME)), alike=0.8)
    return f"{HOME}.{shown}" if shown and shown[0].isupper() else None


def _near_modules(steps: list[str], trusted: Collection[str]) -> Iterator[ModuleType]:
    """The module that mistyped steps come nearest to, if one does."""
    for root in sorted(trusted, key=len, reverse=True):
        depth = root.count(".") + 1
        if nearest(".".join(steps[:depth]), [root], alike=0.75) is None:
            continue
        module: ModuleType | None = import_module(root)
        for step in steps[depth:]:
            inside = [found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []))]
            close = step if step in inside else nearest(step, inside)
            module = _submodule(module, close) if module and close else None
        if module is not None:
            yield module


def _parts(module: ModuleType, trusted: Collection[str]) -> list[str]:
    """What could be named in a module. Lazy names are taken at their word, so that nothing is loaded."""
    here = vars(module)
    parts = [name for name, found in here.items() if name[0] != "_" and _no_part(found, trusted) is None]
    lazy = [name for name in getattr(module, "__all__", ()) if name not in here]
    return [*parts, *lazy]
