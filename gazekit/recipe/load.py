"""From a name or path to a recipe, or to all that is wrong with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gazekit.contracts.section import Fault
from gazekit.contracts.section import check as check_section
from gazekit.recipe.layers import chain, lay, read_layer
from gazekit.recipe.library import find
from gazekit.recipe.schema import Recipe, RecipeError, RecipeFile
from gazekit.recipe.text import fill_in, read_value, write


def load(recipe: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Reads a recipe with its bases, lays the overrides over it and checks it.

    Args:
        recipe: A name (`tiny`) or a path that ends in .yaml.
        overrides: `path=value` each, the value in YAML: `gaze.route.k=8`, `training.stages.0.steps=100`,
            `gaze.route._target_=gazekit.route.RandomRouter` (which replaces the part, whatever the order).

    Raises:
        RecipeError: With every fault that was found.
    """
    return _finished(*_compose_file(recipe, list(overrides)))


def parse(text: str, overrides: Iterable[str] = (), folder: str | Path = ".") -> Recipe:
    """Reads a recipe from text, as `load` does from a file. `parse(show(recipe)) == recipe`.

    Args:
        text: YAML.
        overrides: As for `load`.
        folder: What paths in it are relative to.

    Raises:
        RecipeError: With every fault that was found.
    """
    return _finished(*_compose_text(text, list(overrides), Path(folder)))


def show(recipe: Recipe) -> str:
    """The recipe as YAML that stands for itself, without base or interpolation."""
    sections = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    return write({name: value for name, value in sections.items() if value is not None and value != ()})


def check(recipe: Recipe | str | Path, overrides: Iterable[str] = ()) -> list[Fault]:
    """Everything that is wrong with a recipe, at once; empty = it can be built.

    Builds nothing, with one exception: a part that is no more than its arguments (a frozen dataclass, or one
    whose weights come with `bind`) is made and thrown away, so that its own rules on values are heard.

    Args:
        recipe: A name, a path, or a recipe at hand.
        overrides: As for `load`.
    """
    if isinstance(recipe, Recipe):
        tree, faults = _compose_text(show(recipe), list(overrides), Path())
    else:
        tree, faults = _compose_file(recipe, list(overrides))
    return [*faults, *_faults_of(tree, faults)]


def _finished(tree: Mapping[str, Any], faults: Sequence[Fault]) -> Recipe:
    faults = [*faults, *_faults_of(tree, faults)]
    if faults:
        raise RecipeError(faults)
    return Recipe(**{**tree, "imports": tuple(tree.get("imports", ()))})


def _faults_of(tree: Mapping[str, Any], known: Sequence[Fault]) -> list[Fault]:
    """What the schema and the parts find wrong, less what only follows from faults already known."""
    if any(not fault.path or fault.path == "base" for fault in known):
        return []
    imports = tree.get("imports", [])
    trusted = [entry for entry in imports if isinstance(entry, str)] if isinstance(imports, list) else []
    found = check_section(tree, RecipeFile, trusted)
    broken = [fault.path for fault in known]
    return [fault for fault in found if not any(f"{fault.path}.".startswith(f"{path}.") for path in broken)]


def _compose_file(recipe: str | Path, overrides: Sequence[str]) -> tuple[dict[str, Any], list[Fault]]:
    faults: list[Fault] = []
    try:
        file = find(recipe)
    except FileNotFoundError as error:
        return {}, [Fault("", str(error))]
    tree = {"name": file.stem, **chain(file, (), faults)}
    return _compose(tree, overrides, faults)


def _compose_text(text: str, overrides: Sequence[str], folder: Path) -> tuple[dict[str, Any], list[Fault]]:
    faults: list[Fault] = []
    tree = {"name": "recipe", **read_layer(text, "the recipe", folder, (), faults)}
    return _compose(tree, overrides, faults)


def _compose(
    tree: Mapping[str, Any], overrides: Sequence[str], faults: list[Fault]
) -> tuple[dict[str, Any], list[Fault]]:
    """Lays the overrides over a tree and fills in its interpolations."""
    pairs = []
    for override in overrides:
        path, equals, text = override.partition("=")
        try:
            if not (path and equals):
                raise ValueError(f"{override!r} is no override: write path=value, as in gaze.route.k=8")
            pairs.append((path, read_value(text)))
        except ValueError as error:
            faults.append(Fault(path, str(error)))
    laid = lay(tree, pairs, Path(), faults)
    filled, unfilled = fill_in(laid)
    return filled, [*faults, *unfilled]
