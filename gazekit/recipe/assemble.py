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


def data_for(
    recipe: Recipe, cambrian: Cambrian, stage: Stage, out: Path | None = None, *, device: str = "auto"
) -> Any:
    """The data of one stage; each stage draws samples of its own, so that none is seen twice.

    Args:
        recipe: With `data` and `training`.
        cambrian: Whose processor encodes.
        stage: One of the recipe's.
        out: Folder of the run, for what the data has to write down; None = nothing is written.
        device: What is trained on, where as many processes are to be taken as there are devices.
    """
    training = recipe.build("training")
    total = _num_processes(recipe, device)
    before = 0
    for other in training.stages:
        if other.name == stage.name:
            break
        before += other.steps * other.batch_size
    sections = recipe.data
    offered = {
        "processor": cambrian.processor,
        "batch_size": stage.local_batch_size(total),
        "num_steps": stage.steps * stage.accumulate,
        "batches_per_step": stage.accumulate * total,
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
    if _num_processes(recipe, device) > 1 and not (folder / "done.json").exists():
        raise ValueError(
            f"devices must be 1 while the recipe {recipe.name} pretrains its tower; train it once with "
            "training.devices=1 training.num_nodes=1, and go on from there, or write training.tower=null"
        )
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

    training = recipe.build("training")
    data = {stage.name: data_for(recipe, cambrian, stage, out, device=device) for stage in training.trained}
    return run(
        cambrian.model, training.trained, data, out, seed=recipe.seed, device=device, machine=training.machine,
        keep=keep, progress=progress,
    )  # fmt: skip


def _num_processes(recipe: Recipe, device: str) -> int:
    from gazekit.training.session import num_processes

    return num_processes(device, recipe.build("training").machine)
