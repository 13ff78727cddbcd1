"""Laying one tree over another: bases under recipes, overrides over both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gazekit.contracts.section import TARGET


def merge(base: Any, over: Any) -> Any:
    """Lays `over` on `base`: mappings key by key, everything else replaced.

    A mapping that names another `_target_` than the one below replaces it whole: the arguments of one class
    mean nothing to another.
    """
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return over
    if TARGET in over and over[TARGET] != base.get(TARGET):
        return over
    return {**base, **{key: merge(base[key], value) if key in base else value for key, value in over.items()}}


def merge_recipes(base: Mapping, over: Mapping) -> dict:
    """`merge` for whole recipes: what is imported below stays imported, for its parts are named there."""
    merged = dict(merge(base, over))
    below, above = base.get("imports"), over.get("imports")
    if isinstance(below, list) and isinstance(above, list):
        merged["imports"] = [*below, *(entry for entry in above if entry not in below)]
    return merged


def steps_of(path: str) -> list[str]:
    """`training.stages[0].steps` and `training.stages.0.steps` alike in steps."""
    return path.replace("[", ".").replace("]", "").split(".")


def put(tree: Any, steps: Sequence[str], value: Any, path: str = "") -> Any:
    """A copy of a tree with a value laid over what stands at `steps`.

    Raises:
        ValueError: A step leads into something that holds no keys, or past the end of a list.
    """
    if not steps:
        return merge(tree, value)
    if list(steps) == [TARGET]:
        return merge(tree, {TARGET: value})
    step, *rest = steps
    if isinstance(tree, list):
        if not (step.isdecimal() and int(step) < len(tree)):
            size = f"0 to {len(tree) - 1}" if tree else "none, for it is empty"
            raise ValueError(f"{path} is a list, whose items are numbered {size}, got {step!r}")
        place = int(step)
        return [*tree[:place], put(tree[place], rest, value, f"{path}.{step}"), *tree[place + 1 :]]
    if tree is not None and not isinstance(tree, Mapping):
        raise ValueError(f"{path} is {tree!r}, which has no {step}")
    tree = tree or {}
    below = f"{path}.{step}" if path else step
    return {**tree, step: put(tree.get(step), rest, value, below)}
