"""A part written down as plain values, ready for YAML or JSON."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path

from gazekit.contracts.section.resolve import TARGET, public_name
from gazekit.contracts.section.signature import arguments


def to_section(part: object) -> object:
    """What `build` needs to make an equal part: its target and all its arguments, defaults too.

    An argument is read from the attribute of the same name: a part keeps what it was given under that name.

    Args:
        part: A part, or a list or mapping of parts, or a plain value.

    Raises:
        ValueError: An argument is not kept as an attribute, or holds what cannot be written (a tensor, say).
    """
    if part is None or isinstance(part, (bool, int, float, str)):
        return part.name.lower() if isinstance(part, enum.Enum) else part
    if isinstance(part, enum.Enum):
        return part.name.lower()
    if isinstance(part, Path):
        return str(part)
    if isinstance(part, Mapping):
        return {str(key): to_section(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [to_section(value) for value in part]
    if isinstance(part, (set, frozenset)):
        return sorted((to_section(value) for value in part), key=str)
    return _written(part)


def _written(part: object) -> dict[str, object]:
    make = type(part)
    if make.__module__.split(".")[0] in ("builtins", "torch", "numpy"):
        raise ValueError(f"a {make.__name__} cannot be written in a section; keep plain values or parts")
    section: dict[str, object] = {TARGET: public_name(make)}
    for name in arguments(make):
        if not hasattr(part, name):
            raise ValueError(
                f"{make.__qualname__} cannot be written down: it keeps no attribute for its argument {name}; "
                f"set self.{name} in __init__, or make it a dataclass"
            )
        section[name] = to_section(getattr(part, name))
    return section
