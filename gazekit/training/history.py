"""The figures that a stage logged, as one series over restarts."""

from __future__ import annotations

import csv
import os
from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

_FOLDER = "log"


def loggers(folder: Path, every: int) -> list[Logger]:
    """CSV always, TensorBoard where it is installed; each start of a stage writes a version of its own.

    Weights & Biases too, where it is installed and told which project to log into (`WANDB_PROJECT`; offline with
    `WANDB_MODE=offline`): a run for each start, those of one stage in one group.
    """
    out: list[Logger] = [CSVLogger(folder, name=_FOLDER, flush_logs_every_n_steps=every)]
    if find_spec("tensorboard") is not None:
        out.append(TensorBoardLogger(folder, name=_FOLDER, version=out[0].version, default_hp_metric=False))
    project = os.environ.get("WANDB_PROJECT")
    if project and find_spec("wandb") is not None:
        from lightning.pytorch.loggers import WandbLogger

        name = f"{folder.parent.name}/{folder.name}"
        out.append(WandbLogger(project=project, save_dir=folder, group=name, name=f"{name}-{out[0].version}"))
    return out


def read_history(folder: Path) -> list[dict[str, float]]:
    """The logged rows of a stage's folder by step, ascending; steps that a restart ran again count once."""
    rows: dict[int, dict[str, float]] = {}
    versions = sorted(Path(folder).glob(f"{_FOLDER}/version_*/metrics.csv"), key=_version)
    for path in versions:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                figures = {name: float(value) for name, value in row.items() if value not in ("", None)}
                rows.setdefault(int(figures["step"]), {}).update(figures)
    return [rows[step] for step in sorted(rows)]


def _version(path: Path) -> int:
    return int(path.parent.name.removeprefix("version_"))
