"""Parts as a user would write them, in a file outside the package."""

from __future__ import annotations

import abc
import enum
import os  # a door that no target may go through
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial  # likewise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from torch import nn

if TYPE_CHECKING:
    from somewhere import Nothing

__all__ = ["os", "partial"]


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Holds two rules on values."""

    power: int
    coating: Literal["none", "blue", "amber"] = "none"
    width: float = 1.0
    label: str = ""

    def __post_init__(self) -> None:
        if self.power < 1:
            raise ValueError(f"power must be at least 1, got {self.power}")
        if self.width <= 0:
            raise ValueError(f"width must be above 0, got {self.width}; it is in millimetres")
        if self.label == "both" and self.coating == "none":
            raise ValueError("a label of both needs a coating")


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Every kind of hint that a recipe can meet."""

    size: tuple[int, int, int] = (1, 2, 3)
    steps: tuple[int, ...] = ()
    weights: Mapping[str, float | None] = field(default_factory=dict)
    colour: Colour = Colour.RED
    colours: frozenset[Colour] = frozenset()
    where: Path | None = None
    lens: Lens | None = None
    stack: Sequence[Lens] = ()
    act: Callable[[int], int] | None = None
    flag: bool = False
    anything: Any = None
    count: int | str = 0
    unknown: Nothing | None = None


class Body:
    """Neither frozen nor cheap: is not built by a check."""

    built = 0

    def __init__(self, *, lens: Lens, shutter: float = 0.5, **rest: object) -> None:
        Body.built += 1
        if shutter > 1:
            raise ValueError(f"shutter must be at most 1, got {shutter}")
        self.lens = lens
        self.shutter = shutter


class Dataset:
    """Needs what only the program has."""

    def __init__(self, processor: object, *, batch_size: int = 1, rows: int = 4) -> None:
        self.processor = processor
        self.batch_size = batch_size
        self.rows = rows


class Weighted(nn.Module):
    """Has no weights until it is bound."""

    def __init__(self, *, rank: int = 2) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        self.rank = rank

    def bind(self, sizes: object) -> None: ...

    def forward(self, scores: object, view: object) -> None: ...


class Viewer(Protocol):
    def __call__(self, scores: object, view: object) -> object: ...

    def describe(self, look: object) -> object: ...

    @property
    def reach(self) -> int: ...


@dataclass(frozen=True)
class GoodViewer:
    reach: int = 3

    def __call__(self, scores: object, view: object) -> None: ...

    def describe(self, look: object, extra: int = 0) -> None: ...


@dataclass(frozen=True)
class NarrowViewer:
    reach: int = 3

    def __call__(self, scores: object) -> None: ...

    def describe(self, look: object) -> None: ...


@dataclass(frozen=True)
class ReachlessViewer:
    def __call__(self, scores: object, view: object) -> None: ...

    def describe(self, look: object) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Holder:
    viewer: Viewer


class Abstract(abc.ABC):
    @abc.abstractmethod
    def see(self) -> None: ...


def grind(power: int) -> Lens:
    return Lens(power=power)


def silent(power: int):
    return Lens(power=power)


class Forgetful:
    def __init__(self, *, power: int = 1) -> None:
        self.strength = power
