"""Trains what a recipe describes, tower first, and saves the model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from gazekit.recipe.assemble import TOWER_FOLDER, assemble, pretrain, train_stages
from gazekit.recipe.load import load, show
from gazekit.recipe.schema import Recipe

MODEL_FOLDER = "model"
RECIPE_FILE = "recipe.yaml"
_SPREAD = ("strategy", "devices", "num_nodes", "timeout", "compile", "peak_tflops")


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
    from gazekit.training.session import is_main_process

    out = Path(out)
    main = is_main_process()
    if not resume:
        _clear_alone(out, main)
    out.mkdir(parents=True, exist_ok=True)
    keep_recipe(recipe, out, write=main)
    cambrian = assemble(recipe)
    pretrain(recipe, cambrian, out / TOWER_FOLDER, device=device, progress=progress)
    train_stages(recipe, cambrian, out, device=device, progress=progress)
    if main:
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


def _clear_alone(out: Path, main: bool) -> None:
    """Removes an earlier run, in the process that starts the others.

    Raises:
        ValueError: A launcher has started all of them at once: one would remove what another already reads.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        if out.exists() and any(out.iterdir()):
            raise ValueError(
                f"out must be a new folder where a launcher starts all processes at once, and {out} holds something; "
                "remove it before, or leave --fresh out"
            )
    elif main:
        clear(out)


def keep_recipe(recipe: Recipe, out: Path, *, write: bool = True) -> None:
    """Writes the resolved recipe beside the run that it makes, which may be spread anew when it goes on.

    Args:
        recipe: The run's.
        out: Its folder.
        write: Whether this is the process that writes.

    Raises:
        ValueError: The folder holds the run of another recipe, or what is no run at all: to start it afresh later
            would remove that.
    """
    path, text = out / RECIPE_FILE, show(recipe)
    if write and not path.exists() and (others := [each.name for each in out.iterdir() if not _ours(each)]):
        raise ValueError(
            f"{out} holds {', '.join(sorted(others)[:3])} and no run of gazekit; choose a new or an empty folder"
        )
    if path.exists() and path.read_text(encoding="utf-8") != text and _what(load(path)) != _what(recipe):
        raise ValueError(f"{out} holds the run of another recipe; choose another folder, or start it afresh")
    if write:
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)


def _ours(path: Path) -> bool:
    """Whether a run makes a file or folder of that name; other processes of one may be ahead of the first."""
    number, dash, _ = path.name.partition("-")
    made = (RECIPE_FILE, Path(RECIPE_FILE).with_suffix(".unfinished").name, TOWER_FOLDER, MODEL_FOLDER)
    return path.name in made or (number.isdecimal() and bool(dash))


def _what(recipe: Recipe) -> Recipe:
    """A recipe without what its training is spread over; what must stay of that, checkpoints know."""
    if not isinstance(recipe.training, Mapping):
        return recipe
    rest = {name: value for name, value in recipe.training.items() if name not in _SPREAD}
    return replace(recipe, training=rest)
