"""Between text and plain values: YAML in and out, `${...}` filled in. All of OmegaConf is in this file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gazekit.contracts.section import Fault, join, nearest

_VEIL = "\ue000{"
"""Stands for `${` while YAML is read (a private character), so that OmegaConf judges interpolations later,
one by one, and a bad one does not hide the faults after it."""


def read_mapping(text: str, origin: str) -> dict[str, Any]:
    """A mapping out of YAML, interpolations left as they are written.

    Args:
        text: YAML.
        origin: What it is called in errors.

    Raises:
        ValueError: It is not YAML (the line is named), or no mapping.
    """
    tree = _read(text, origin) if text.strip() else {}
    if not isinstance(tree, dict):
        raise ValueError(f"{origin} must be a mapping of sections, got a {type(tree).__name__}")
    return tree


def read_value(text: str) -> Any:
    """What stands right of the `=` of an override, read as YAML.

    Raises:
        ValueError: It is not YAML.
    """
    try:
        found = OmegaConf.from_dotlist([f"value={text.replace('${', _VEIL)}"])
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{text!r} is not YAML: {_problem(error)}") from error
    return _unveil(OmegaConf.to_container(found))["value"]


def _read(text: str, origin: str) -> Any:
    try:
        tree = OmegaConf.create(text.replace("${", _VEIL))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{origin}{line}: {_problem(error)}") from error
    return _unveil(OmegaConf.to_container(tree))


def _problem(error: Exception) -> str:
    return getattr(error, "problem", None) or str(error).splitlines()[0]


def _unveil(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {_unveil(key): _unveil(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_unveil(value) for value in tree]
    return tree.replace(_VEIL, "${") if isinstance(tree, str) else tree


def fill_in(tree: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Replaces every `${...}` by what it refers to; a value left open (`???`) is a fault.

    Returns:
        The tree, with None at each fault, and the faults.
    """
    faults: list[Fault] = []
    sound = _judge_grammar(tree, "", faults)
    config = OmegaConf.create(sound)
    return dict(_resolved(config, "", list(_paths(tree, "")), faults)), faults


def _judge_grammar(tree: Any, path: str, faults: list[Fault]) -> Any:
    """The tree without the interpolations that are not even written right."""
    if isinstance(tree, Mapping):
        return {key: _judge_grammar(value, join(path, key), faults) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_judge_grammar(value, join(path, place), faults) for place, value in enumerate(tree)]
    try:
        OmegaConf.create({"value": tree})
    except OmegaConfBaseException as error:
        faults.append(Fault(path, f"{tree!r} is not written right: {_problem(error)}"))
        return None
    return tree


def _resolved(config: Any, path: str, known: list[str], faults: list[Fault]) -> Any:
    if not isinstance(config, (DictConfig, ListConfig)):
        return config
    if config._is_none():
        return None
    keys = list(config) if isinstance(config, DictConfig) else range(len(config))
    found = {}
    for key in keys:
        place, value = join(path, key), None
        try:
            if OmegaConf.is_missing(config, key):
                faults.append(Fault(place, f"is left open ({MISSING}): give it a value"))
            else:
                value = _resolved(config[key], place, known, faults)
        except (OmegaConfBaseException, RecursionError) as error:
            wanted = re.search(r"key '([^']*)' not found", str(error))
            near = nearest(wanted[1], known) if wanted else None
            faults.append(Fault(place, f"cannot be filled in: {_problem(error)}", near))
        found[key] = value
    return found if isinstance(config, DictConfig) else list(found.values())


def _paths(tree: Any, path: str) -> Iterator[str]:
    if path:
        yield path
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield from _paths(value, join(path, key))


def write(tree: Mapping[str, Any]) -> str:
    """YAML that `read_mapping` and `fill_in` turn into an equal tree."""
    return OmegaConf.to_yaml(OmegaConf.create(_escape(tree)))


def _escape(tree: Any) -> Any:
    """Keeps text that looks like an interpolation from being taken for one."""
    if isinstance(tree, Mapping):
        return {key: _escape(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_escape(value) for value in tree]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", tree) if isinstance(tree, str) else tree
