"""Trains what a recipe describes, tower first, and saves the model."""

from __future__ import annotations

import shutil
from pathlib import Path

from gazekit.recipe.assemble import TOWER_FOLDER, assemble, pretrain, train_stages
from gazekit.recipe.load import show
from gazekit.recipe.schema import Recipe

MODEL_FOLDER = "model"
RECIPE_FILE = "recipe.yaml"


def train(
    recipe: Recipe, *, out: Path, device: str = "auto", resume: bool = True, progress: bool = True
) -> Path:
    """Trains through all stages of a recipe; a killed run goes on where it stopped.

    Args:
        recipe: With `model`, `data` and `training`.
        out: Folder of the run: `recipe.yaml`, a folder for each stage, and at the end `model`.
        device: "auto", "cpu", "cuda" or "mps".
        resume: Whether to go on with what lies in `out`; otherwise it is removed first.
        progress: Shows progress bars.

    Returns:
        The folder of the saved model and processor.

    Raises:
        ValueError: A section is missing, or `out` holds the run of another recipe.
    """
    for section in ("model", "data", "training"):
        if getattr(recipe, section) is None:
            raise ValueError(
                f"{section} must be in the recipe {recipe.name} to train it; see recipes/tiny.yaml"
            )
    out = Path(out)
    if not resume:
        clear(out)
    out.mkdir(parents=True, exist_ok=True)
    keep_recipe(recipe, out)
    cambrian = assemble(recipe)
    pretrain(recipe, cambrian, out / TOWER_FOLDER, device=device, progress=progress)
    train_stages(recipe, cambrian, out, device=device, progress=progress)
    cambrian.model.save_pretrained(out / MODEL_FOLDER)
    cambrian.processor.save_pretrained(out / MODEL_FOLDER)
    return out / MODEL_FOLDER


def clear(out: Path) -> None:
    """Removes an earlier run.

    Raises:
        ValueError: The folder holds something, and it is not a run of ours.
    """
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / RECIPE_FILE).is_file():
        raise ValueError(f"{out} holds no run of gazekit and is left alone; choose another folder")
    shutil.rmtree(out)


def keep_recipe(recipe: Recipe, out: Path) -> None:
    """Writes the resolved recipe beside the run that it makes.

    Raises:
        ValueError: The folder holds the run of another recipe.
    """
    path, text = out / RECIPE_FILE, show(recipe)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ValueError(f"{out} holds the run of another recipe; choose another folder, or start it afresh")
    path.write_text(text, encoding="utf-8")
