"""Trains what the demo compares: gaze, the dense baseline, and gaze with context tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gazekit.recipe import Recipe
from gazekit.recipe.assemble import TOWER_FOLDER, assemble, data_for, pretrain

if TYPE_CHECKING:
    from gazekit.models import Cambrian


@dataclass(frozen=True)
class Contestants:
    """The trained models and what training took.

    Attributes:
        gaze: Looks at few regions.
        dense: The same model trained dense: same data, seed, rates and number of tokens.
        context: Gaze with context tokens, fine-tuned from `gaze`.
        tower_accuracy: Share of held-out cells that the pretrained tower names.
        seconds: Time by part. "dense" is the time of all its steps, those it shares with gaze included.
        trained: Seconds that were spent in all, shared steps counted once.
        shared_steps: Steps that gaze and dense share, the routing being open.
        folders: Folder of each run's figures, by name.
    """

    gaze: Cambrian
    dense: Cambrian
    context: Cambrian
    tower_accuracy: float
    seconds: dict[str, float]
    trained: float
    shared_steps: int
    folders: dict[str, Path]


def train_contestants(recipe: Recipe, with_context: Recipe, out: Path, *, device: str) -> Contestants:
    """Trains all three, or goes on where a killed run stopped.

    The steps that gaze takes while its routing is open are, bit for bit, the dense baseline's own: they are computed
    once, and the dense run branches off from there.
    """
    from gazekit.training import branch, fit_stage, open_steps
    from gazekit.training.checkpoints import saved

    *before, tune = recipe.build("training").stages
    names = (TOWER_FOLDER, *(stage.name for stage in before), "gaze", "dense", "context")
    folders = {name: out / name for name in names}
    gaze = assemble(recipe)
    tower = pretrain(recipe, gaze, folders[TOWER_FOLDER], device=device)
    opened = [
        fit_stage(
            gaze.model,
            data_for(recipe, gaze, stage),
            stage,
            folders[stage.name],
            seed=recipe.seed,
            device=device,
        )
        for stage in before
    ]
    shared = open_steps(gaze.model, tune)
    looked = fit_stage(
        gaze.model,
        data_for(recipe, gaze, tune),
        tune,
        folders["gaze"],
        seed=recipe.seed,
        device=device,
        keep=[shared],
    )
    dense = assemble(recipe)
    throughout = replace(tune, name="dense", openness=1.0)
    if not saved(folders["dense"] / "checkpoints") and not (folders["dense"] / "done.json").exists():
        branch(folders["gaze"], shared, folders["dense"], throughout)
    stared = fit_stage(
        dense.model,
        data_for(recipe, dense, tune),
        throughout,
        folders["dense"],
        seed=recipe.seed,
        device=device,
    )
    context, hinted = _add_context(with_context, gaze, folders["context"], device)
    common = sum(result.seconds for result in opened)
    part = looked.seconds * shared / tune.steps
    return Contestants(
        gaze=gaze,
        dense=dense,
        context=context,
        tower_accuracy=tower.accuracy if tower else float("nan"),
        seconds={
            "tower": tower.stage.seconds if tower else 0.0,
            "gaze": common + looked.seconds,
            "dense": common + stared.seconds,
            "context": hinted,
        },
        trained=(tower.stage.seconds if tower else 0.0)
        + common
        + looked.seconds
        + stared.seconds
        + hinted
        - part,
        shared_steps=shared,
        folders=folders,
    )


def _add_context(recipe: Recipe, gaze: Cambrian, folder: Path, device: str) -> tuple[Cambrian, float]:
    """The gaze model with context tokens that it has not had, fine-tuned."""
    from gazekit.training import fit_stage

    context = assemble(recipe)
    assert context.model.context is not None, "the recipe of the context stage gives context tokens"
    fresh = context.model.context.weight.detach().clone()
    context.model.load_state_dict({**gaze.model.state_dict(), "context.weight": fresh})
    (stage,) = recipe.build("training").stages
    result = fit_stage(
        context.model,
        data_for(recipe, context, stage),
        stage,
        folder,
        seed=recipe.seed,
        device=device,
    )
    return context, result.seconds
