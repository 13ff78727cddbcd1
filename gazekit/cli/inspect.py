"""What `gazekit inspect` finds out about a recipe or a model, from configs alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gazekit.cli.choice import choices
from gazekit.cli.cost import figures
from gazekit.cli.notes import notes_of
from gazekit.contracts.device import choose_device
from gazekit.gaze import Gaze, cost
from gazekit.models import Anatomy, anatomy_of, config_at
from gazekit.recipe import Recipe, load
from gazekit.recipe.library import SUFFIXES, find, names

HINT = (
    "attention is dense: no gaze section was found. --gaze RECIPE shows what gaze would do, as in --gaze tiny"
)


def inspect(
    target: str,
    *,
    gaze: str | None = None,
    overrides: Sequence[str] = (),
    image: tuple[int, int] | None = None,
    frames: int = 1,
    imports: Iterable[str] = (),
    device: str = "auto",
) -> dict[str, Any]:
    """Parameters by part, and what gaze does to each query.

    Args:
        target: A recipe (name or path), the folder of a saved model, or a model of the hub (owner/name).
        gaze: A recipe whose gaze section is taken instead of the target's own.
        overrides: Changes to the recipe that is `gaze`, else to the one that is the target.
        image: Height and width of an image in pixels, for models that take any.
        frames: Frames of a video in place of one image, for Cambrians.
        imports: Modules of one's own that a composition may name.
        device: What the backends are asked for.

    Returns:
        `parameters` and `gaze`, in plain values.

    Raises:
        FileNotFoundError: There is no such recipe or model.
        ValueError: It cannot be inspected; the message says why.
    """
    given = None if gaze is None else load(gaze, overrides)
    if given is not None and given.gaze is None:
        raise ValueError(f"the recipe {given.name} has no gaze section to take")
    section = None if given is None else given.gaze
    trusted = [*imports, *(() if given is None else given.imports)]
    if _is_recipe(target):
        recipe = load(target, () if given else overrides)
        trusted += recipe.imports
        config: Any = config_of(recipe)
    else:
        if overrides and given is None:
            raise ValueError(f"{overrides[0]} changes a recipe, and {target} is a model; add --gaze RECIPE")
        config = _config_named(target)
    anatomy = anatomy_of(config, gaze=section, imports=tuple(trusted), image=image, frames=frames)
    return {"parameters": dict(anatomy.parameters), "gaze": _gaze(anatomy, frames, choose_device(device))}


def config_of(recipe: Recipe) -> Any:
    """The config of the model that a recipe describes; no weights are drawn or read.

    Raises:
        ValueError: The recipe has no model, or one that does not tell its config.
    """
    if recipe.model is None:
        raise ValueError(
            f"model must be described in the recipe {recipe.name}; see recipes/tiny.yaml for one"
        )
    source = recipe.build("model")
    if not hasattr(source, "config"):
        raise ValueError(
            f"model {type(source).__name__} does not tell its config; give it a method config(*, gaze) that returns "
            "that of the whole model, as FromScratch has"
        )
    return source.config(gaze=recipe.gaze)


def _is_recipe(target: str) -> bool:
    return Path(target).suffix in SUFFIXES or target in names()


def _config_named(target: str) -> Any:
    """The config of a folder or a hub name; what is neither is probably a recipe that was misspelt."""
    if not Path(target).exists() and (target.count("/") != 1 or target.startswith((".", "/", "~"))):
        try:
            find(target)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}; nor is {target} the folder of a model or a name on the hub (owner/name)"
            ) from error
    return config_at(target)


def _gaze(anatomy: Anatomy, frames: int, device: str) -> dict[str, Any]:
    """The gaze section of the answer."""
    sizes, gazes = anatomy.sizes, anatomy.gazes
    looks = [one for gaze in gazes for one in gaze.looks]
    routing = next((gaze for gaze in looks if gaze.route is not None), next(iter(looks), Gaze()))
    found = figures(cost(gazes or Gaze(), anatomy.layout, sizes))
    chosen = found.pop("chosen")
    notes = [*anatomy.notes, *notes_of(gazes), *(() if gazes else (HINT,))]
    if len(gazes) > 1:
        notes.append(
            f"{len(gazes)} compositions cycle over the layers; backends are those of the first that routes"
        )
    return {
        "layers": sizes.num_layers,
        "heads": sizes.num_heads,
        "kv_heads": sizes.num_kv_heads,
        "head_dim": sizes.head_dim,
        "group": sizes.num_heads // sizes.num_kv_heads,
        "hidden": sizes.hidden_dim,
        "grid": list(anatomy.grid),
        "frames": frames,
        "context_tokens": gazes[0].num_context if gazes else 0,
        "k": chosen if routing.route is not None else None,
        "attended_share": found.pop("share"),
        **found,
        "backend": {
            call: asdict(choice) for call, choice in choices(routing, anatomy.layout, sizes, device).items()
        },
        "device": device,
        "notes": notes,
    }
