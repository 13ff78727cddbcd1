"""Runs stages one after another, and goes on where a killed run stopped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from lightning.pytorch import LightningDataModule
from torch import nn

from gazekit.training.fit import StageResult, fit_stage
from gazekit.training.machine import Machine
from gazekit.training.stage import Stage


def run(
    model: nn.Module,
    stages: Sequence[Stage],
    data: LightningDataModule | Mapping[str, LightningDataModule],
    out: Path | str,
    *,
    seed: int = 0,
    device: str = "auto",
    machine: Machine | None = None,
    keep: Mapping[str, Collection[int]] | None = None,
    progress: bool = True,
) -> list[StageResult]:
    """Trains a model through stages. Called again after it was killed, it goes on from the last checkpoint.

    The folder then holds, for each stage, `<number>-<name>/` with `checkpoints/step-<step>.ckpt`, `log/version_<n>/`
    (CSV and TensorBoard, one version for each start), and once finished `final.safetensors` and `done.json`. Finished
    stages are not run again: their weights are loaded.

    Args:
        model: Trained in place.
        stages: In order, with names of their own.
        data: One for all stages, or one for each stage by name.
        out: Folder of this run.
        seed: Seeds each stage.
        device: "auto", "cpu", "cuda" or "mps".
        machine: The processes to train in; None = this one.
        keep: By stage, steps whose checkpoints stay, to branch from.
        progress: Shows a progress bar and the tables of learning rates.

    Raises:
        ValueError: Two stages of one name, a stage without data, or a folder that holds a run of other stages.
    """
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise ValueError(f"stages must have names of their own, got {', '.join(names)}; rename one")
    if isinstance(data, Mapping) and (lacking := [name for name in names if name not in data]):
        raise ValueError(f"data must hold every stage, lacks {', '.join(lacking)}")
    return [
        fit_stage(
            model,
            data[stage.name] if isinstance(data, Mapping) else data,
            stage,
            stage_folder(out, number, stage.name),
            seed=seed,
            device=device,
            machine=machine,
            keep=(keep or {}).get(stage.name, ()),
            progress=progress,
        )
        for number, stage in enumerate(stages, start=1)
    ]


def stage_folder(out: Path | str, number: int, name: str) -> Path:
    """The folder of a stage inside a run's; stages count from 1."""
    return Path(out) / f"{number}-{name}"
