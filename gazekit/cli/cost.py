"""What `gazekit cost` counts: a composition from a recipe, or the paper's from numbers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gazekit.cli.notes import notes_of
from gazekit.contracts import Sizes
from gazekit.gaze import SHAPES, Clip, Cost, Gaze, cost, prompt_layout, shape_of

GRID = (24, 24)
SIZE = (1, 6, 6)
SHAPE = "qwen3-4b"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is counted.

    Attributes:
        gazes: Compositions that the layers cycle over.
        sizes: The decoder.
        clips: Images and videos.
        num_text: Text tokens.
    """

    gazes: Sequence[Gaze]
    sizes: Sizes
    clips: Sequence[Clip]
    num_text: int = 0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of a command line, ready for JSON.

    Raises:
        ValueError: Words contradict each other, or one is missing.
    """
    loose = [word for word in (arguments.recipe, *arguments.overrides) if word and "=" in word]
    if loose and arguments.recipe in (None, loose[0]):
        raise ValueError(
            f"{loose[0]} changes a recipe, and none is named, as in gazekit cost tiny gaze.route.k=4"
        )
    subject = _from_recipe(arguments) if arguments.recipe else _from_numbers(arguments)
    num_context = subject.gazes[0].num_context
    layout = prompt_layout(subject.clips, num_context=num_context, num_text=subject.num_text)
    found = cost(
        subject.gazes,
        layout,
        subject.sizes,
        bytes_per_value=arguments.value_bytes,
        bytes_per_descriptor=arguments.descriptor_bytes,
        softmax_flops=arguments.softmax_flops,
    )
    return {
        **figures(found),
        "setting": _setting(arguments, subject, num_context),
        "notes": notes_of(subject.gazes),
    }


def figures(found: Cost) -> dict[str, Any]:
    """The figures in plain values; whole numbers as such."""
    table = asdict(found)
    table["attention_flops"]["change"] = found.attention_flops.change
    held = found.kv_bytes
    table["kv_bytes"]["change"] = held.resident / held.dense - 1 if held.dense else 0.0
    return {name: plain(value) for name, value in table.items()}


def plain(value: Any) -> Any:
    """Whole floats as integers, tuples as lists, all the way down."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _from_numbers(arguments: argparse.Namespace) -> Subject:
    from gazekit.context import LearnedContext
    from gazekit.partition import GridPartition
    from gazekit.route import TopKRouter

    if arguments.k is None:
        raise ValueError(
            "k must be given where no recipe is, as in --k 20; or name a recipe: gazekit cost tiny"
        )
    gaze = Gaze(
        partition=GridPartition(size=arguments.size or SIZE),
        route=TopKRouter(k=arguments.k),
        context=LearnedContext(num_tokens=arguments.context) if arguments.context else None,
    )
    sizes = shape_of(arguments.shape or SHAPE)
    return Subject(
        gazes=[gaze],
        sizes=sizes,
        clips=_clips(arguments, arguments.grid or GRID),
        num_text=arguments.text,
    )


def _from_recipe(arguments: argparse.Namespace) -> Subject:
    from gazekit.recipe import load

    for name, override in (
        ("size", "gaze.partition.size=[1,6,6]"),
        ("k", "gaze.route.k=20"),
        ("context", "gaze.context.num_tokens=4"),
    ):
        if getattr(arguments, name) is not None:
            raise ValueError(
                f"--{name} cannot stand beside a recipe, which says it; write {override} instead"
            )
    recipe = load(arguments.recipe, arguments.overrides)
    gazes = recipe.build("gaze")
    if gazes is None:
        raise ValueError(f"the recipe {recipe.name} has no gaze section to count")
    gazes = [gazes] if isinstance(gazes, Gaze) else list(gazes)
    sizes, grid = shape_of(arguments.shape) if arguments.shape else None, arguments.grid
    if recipe.model is not None and (sizes is None or grid is None):
        from gazekit.cli.inspect import config_of
        from gazekit.models import anatomy_of

        found = anatomy_of(config_of(recipe), imports=tuple(recipe.imports))
        sizes, grid = sizes or found.sizes, grid or found.grid
    if sizes is None or grid is None:
        raise ValueError(
            f"the recipe {recipe.name} describes no model, so --shape and --grid must be given, as in --shape {SHAPE} "
            "--grid 24x24"
        )
    return Subject(gazes=gazes, sizes=sizes, clips=_clips(arguments, grid), num_text=arguments.text)


def _clips(arguments: argparse.Namespace, grid: tuple[int, int]) -> list[Clip]:
    """So many images, or one video of so many frames."""
    if arguments.frames is not None:
        return [(arguments.frames, *grid)]
    return [(1, *grid)] * (arguments.units or 1)


def _setting(arguments: argparse.Namespace, subject: Subject, num_context: int) -> dict[str, Any]:
    """What the figures are of."""
    sizes = subject.sizes
    name = next((name for name, known in SHAPES.items() if known == sizes), None)
    shape = {field: size for field, size in asdict(sizes).items() if field != "num_branches"}
    return {
        "units": sum(clip[0] for clip in subject.clips),
        "grid": list(subject.clips[0][1:]),
        "context_tokens": num_context,
        "text_tokens": subject.num_text,
        "shape": {"name": name, **shape},
        "value_bytes": arguments.value_bytes,
        "descriptor_bytes": arguments.descriptor_bytes,
        "softmax_flops": arguments.softmax_flops,
    }
