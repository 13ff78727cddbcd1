"""From a recipe to a model, its data and its training."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gazekit.recipe.schema import Recipe

if TYPE_CHECKING:
    from gazekit.models import Cambrian
    from gazekit.training import Stage, StageResult, TowerResult

HELD_OUT_BATCHES = 20
TOWER_FOLDER = "tower"


def assemble(recipe: Recipe) -> Cambrian:
    """Makes the model that a recipe describes, weights drawn from its seed, and its processor.

    Raises:
        ValueError: The recipe has no model, or the model refuses what it is given.
    """
    if recipe.model is None:
        raise ValueError(
            f"model must be described in the recipe {recipe.name}; see recipes/tiny.yaml for one"
        )
    return recipe.build("model").make(gaze=recipe.gaze, imports=recipe.imports, seed=recipe.seed)


def data_for(recipe: Recipe, cambrian: Cambrian, stage: Stage, out: Path | None = None) -> Any:
    """The data of one stage; each stage draws samples of its own, so that none is seen twice.

    Args:
        recipe: With `data` and `training`.
        cambrian: Whose processor encodes.
        stage: One of the recipe's.
        out: Folder of the run, for what the data has to write down; None = nothing is written.
    """
    training = recipe.build("training")
    before = 0
    for other in training.stages:
        if other.name == stage.name:
            break
        before += other.steps * other.batch_size
    sections = recipe.data
    offered = {
        "processor": cambrian.processor,
        "batch_size": stage.local_batch_size(),
        "num_steps": stage.steps * stage.accumulate,
        "batches_per_step": stage.accumulate,
        "seed": recipe.seed,
        "start": before,
        "out": out,
    }
    built = recipe.build("data", **offered)
    return built if sections is None or "_target_" in sections else built[stage.name]


def pretrain(
    recipe: Recipe, cambrian: Cambrian, folder: Path, *, device: str = "auto", progress: bool = True
) -> TowerResult | None:
    """Pretrains the tower on single cells where the recipe says so."""
    from gazekit.data import DigitsWindows
    from gazekit.training import pretrain_tower

    stage = recipe.build("training").tower
    if stage is None:
        return None
    windows = {
        split: DigitsWindows(
            cambrian.processor.image_processor, batch_size=stage.batch_size, seed=recipe.seed, split=split
        )
        for split in ("train", "validation")
    }
    return pretrain_tower(
        cambrian.model.tower.model,
        windows["train"],
        windows["validation"].batches(HELD_OUT_BATCHES),
        stage,
        folder,
        seed=recipe.seed,
        device=device,
        progress=progress,
    )


def train_stages(
    recipe: Recipe,
    cambrian: Cambrian,
    out: Path,
    *,
    device: str = "auto",
    progress: bool = True,
    keep: Mapping[str, Collection[int]] | None = None,
) -> list[StageResult]:
    """Runs the stages of a recipe in order, and goes on where a killed run stopped."""
    from gazekit.training import run

    stages = recipe.build("training").stages
    data = {stage.name: data_for(recipe, cambrian, stage, out) for stage in stages}
    return run(
        cambrian.model, stages, data, out, seed=recipe.seed, device=device, keep=keep, progress=progress
    )
