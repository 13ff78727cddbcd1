"""The layers of a recipe: a file, the base it names, the base of that, and what is laid over them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gazekit.contracts.section import TARGET, Fault
from gazekit.recipe.library import SUFFIXES, find
from gazekit.recipe.merge import merge_recipes, put, steps_of
from gazekit.recipe.text import read_mapping


def chain(file: Path, below: tuple[Path, ...], faults: list[Fault]) -> dict[str, Any]:
    """A file laid over its bases.

    Args:
        file: A recipe.
        below: The files that led here, first to last.
        faults: What is found wrong is added here.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        faults.append(Fault("", f"{shown(file)} cannot be read: {error}"))
        return {}
    return read_layer(text, shown(file), file.parent, (*below, file), faults)


def read_layer(
    text: str, origin: str, folder: Path, files: tuple[Path, ...], faults: list[Fault]
) -> dict[str, Any]:
    """A recipe's text laid over its bases; keys with dots are overrides, laid over all of it.

    Args:
        text: YAML.
        origin: What it is called in faults.
        folder: What paths in it are relative to.
        files: The files that led here, this one last if it is one.
        faults: What is found wrong is added here.
    """
    try:
        tree = read_mapping(text, origin)
    except ValueError as error:
        faults.append(Fault("", str(error)))
        return {}
    base = tree.pop("base", None)
    dotted = [(key, value) for key, value in tree.items() if isinstance(key, str) and "." in key]
    plain = {key: value for key, value in tree.items() if not (isinstance(key, str) and "." in key)}
    merged = merge_recipes(_base(base, folder, files, faults), _with_paths(plain, folder))
    return lay(merged, dotted, folder, faults)


def lay(
    tree: Mapping[str, Any], pairs: Iterable[tuple[str, Any]], folder: Path, faults: list[Fault]
) -> dict[str, Any]:
    """Lays values over a tree at dotted paths; targets first, so that the arguments after them are theirs.

    Args:
        tree: A recipe.
        pairs: Paths and values.
        folder: What paths of imported files are relative to.
        faults: What is found wrong is added here.
    """
    laid = dict(tree)
    for path, value in sorted(pairs, key=lambda pair: not pair[0].endswith(f".{TARGET}")):
        try:
            if path == "base":
                raise ValueError("cannot be overridden; name that recipe instead")
            if path == "imports" and not isinstance(value, list):
                raise ValueError(f"must be a list of module names and .py files, got {value!r}")
            if path == "imports":
                laid = merge_recipes(laid, _with_paths({path: value}, folder))
            else:
                laid = put(laid, steps_of(path), value)
        except ValueError as error:
            faults.append(Fault(path, str(error)))
    return laid


def _base(base: object, folder: Path, files: tuple[Path, ...], faults: list[Fault]) -> dict[str, Any]:
    """What a recipe starts from."""
    if base is None:
        return {}
    if not isinstance(base, str):
        faults.append(Fault("base", f"must be the name or path of one recipe, got {base!r}"))
        return {}
    try:
        file = _find_base(base, folder, files)
    except FileNotFoundError as error:
        faults.append(Fault("base", str(error)))
        return {}
    if file in files:
        circle = " -> ".join(shown(one) for one in [*files[files.index(file) :], file])
        faults.append(Fault("base", f"leads back to itself: {circle}"))
        return {}
    return chain(file, files, faults)


def _find_base(base: str, folder: Path, files: tuple[Path, ...]) -> Path:
    """A path is relative to the file; a name is first one of its neighbours, then a recipe of gazekit's."""
    if base.endswith(SUFFIXES):
        return find(folder / Path(base).expanduser())
    beside = [(folder / f"{base}{suffix}").resolve() for suffix in SUFFIXES]
    return next((file for file in beside if file.is_file() and file not in files[-1:]), None) or find(base)


def _with_paths(tree: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Imported files by their absolute paths, so that they are found from wherever the recipe is used."""
    imports = tree.get("imports")
    if not isinstance(imports, list):
        return dict(tree)
    return {**tree, "imports": [_absolute(entry, folder) for entry in imports]}


def _absolute(entry: Any, folder: Path) -> Any:
    is_file = isinstance(entry, str) and entry.endswith(".py") and "${" not in entry
    return str((folder / Path(entry).expanduser()).resolve()) if is_file else entry


def shown(file: Path) -> str:
    """A path as short as it can be said from here."""
    return min(str(file), os.path.relpath(file), key=len)
