"""Opening the door to a user's own modules: by name, or as a file anywhere on the disk."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from gazekit.contracts.section.faults import Fault, SectionError, join


def admit(imports: Iterable[str], path: str = "imports") -> tuple[str, ...]:
    """Imports what a caller trusts and says under which names its parts are then found.

    Args:
        imports: Module names (`my_package.routers`) and paths of files (`my_router.py`, relative to the
            working directory). A file becomes a module named after it: `my_router`.
        path: Where the list stands, for the faults.

    Returns:
        One module name for each.

    Raises:
        SectionError: One or more could not be imported; all of them are named.
    """
    opened = attempt(imports, path)
    if opened.faults:
        raise SectionError(opened.faults)
    return opened.names


@dataclass(frozen=True)
class Admission:
    """What became of a list of imports.

    Attributes:
        names: The modules that are there now.
        failed: The names of those that are not.
        faults: Why.
    """

    names: tuple[str, ...]
    failed: tuple[str, ...]
    faults: tuple[Fault, ...]


def attempt(imports: Iterable[str], path: str = "imports") -> Admission:
    """`admit` without raising: what fails is told beside what does not."""
    names, failed, faults = [], [], []
    for position, entry in enumerate(imports):
        try:
            names.append(_load_file(Path(entry)) if entry.endswith(".py") else _load_module(entry))
        except _NotAdmitted as error:
            failed.append(Path(entry).stem if entry.endswith(".py") else entry)
            faults.append(Fault(join(path, position), str(error)))
    return Admission(tuple(names), tuple(failed), tuple(faults))


class _NotAdmitted(Exception):
    """Why one import cannot be had."""


def _load_module(name: str) -> str:
    if not all(step.isidentifier() for step in name.split(".")):
        raise _NotAdmitted(f"{name!r} is neither the name of a module nor a path that ends in .py")
    try:
        import_module(name)
    except Exception as error:  # whatever a module of the user's raises while it is imported
        hint = f"; for a file of your own, write {name}.py" if isinstance(error, ModuleNotFoundError) else ""
        raise _NotAdmitted(f"{name} cannot be imported: {_say(error)}{hint}") from error
    return name


def _load_file(file: Path) -> str:
    file, name = file.expanduser().resolve(), file.stem
    if not file.is_file():
        raise _NotAdmitted(f"there is no file {file}")
    if not name.isidentifier():
        raise _NotAdmitted(
            f"{file.name} cannot be a module: its name must be letters, digits and underscores"
        )
    loaded = sys.modules.get(name)
    if loaded is not None and _is_file(getattr(loaded, "__file__", None), file):
        return name
    other = None if loaded else importlib.util.find_spec(name)
    if loaded is not None or (other is not None and not _is_file(other.origin, file)):
        raise _NotAdmitted(f"{file} would hide another module named {name}; rename the file")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None, "a .py file always has a spec"
    assert spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises while it is imported
        del sys.modules[name]
        raise _NotAdmitted(f"{file} cannot be imported: {_say(error)}") from error
    return name


def _is_file(found: str | None, file: Path) -> bool:
    return found is not None and Path(found).resolve() == file


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
