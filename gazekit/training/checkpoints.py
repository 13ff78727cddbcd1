"""Checkpoints that a killed run goes on from, bit for bit."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint
from lightning.pytorch.utilities import rank_zero_info

from gazekit.training.openness import lowest_of
from gazekit.training.shares import REST, broken_seal, checked_shares, seal

RECORD = "gazekit"


class Checkpoints(Checkpoint):
    """Saves everything that the next step depends on: weights, optimizer, data position, random generators.

    A checkpoint appears under its name only when it is whole: a file, or a folder of shares where the model is sharded.

    Args:
        folder: Where the checkpoints go, as `step-<step>.ckpt`.
        every: Steps between checkpoints.
        last: How many of the latest stay.
        keep: Steps whose checkpoints are made and stay, whatever `every` and `last` say.
        run: What a restart must find unchanged, in plain values; it goes into each checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: int,
        last: int = 2,
        keep: Collection[int] = (),
        run: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.folder, self.every, self.last, self.keep = Path(folder), every, last, frozenset(keep)
        self.run = run or {}
        self.seconds = 0.0
        self.openness = 1.0
        self._saved = 0
        self._since = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock; a checkpoint at the step that it starts from exists."""
        self._since = time.perf_counter() - self.seconds
        self._saved = trainer.global_step
        if trainer.global_step == 0 and 0 in self.keep:
            self._save(trainer, {})

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves after a step whose turn it is."""
        step = trainer.global_step
        self.seconds = time.perf_counter() - self._since
        self.openness = min(self.openness, lowest_of(getattr(pl_module, "openness", None)))
        if step != self._saved and (step % self.every == 0 or step in self.keep):
            self._save(trainer, pl_module.figures())

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds what Lightning does not save."""
        checkpoint[RECORD] = {
            "run": self.run,
            "seconds": self.seconds,
            "loss": pl_module.loss,
            "lowest_openness": self.openness,
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes up the record of `on_save_checkpoint`."""
        record = checkpoint[RECORD]
        self.seconds = record["seconds"]
        pl_module.loss = record["loss"]
        self.openness = record["lowest_openness"]

    def _save(self, trainer: Trainer, figures: dict[str, float]) -> None:
        """Saves, and logs the step's figures at once: Lightning would log them after the checkpoint."""
        self._saved = trainer.global_step
        path = self.folder / f"step-{trainer.global_step:08d}.ckpt"
        unfinished = path.with_suffix(".unfinished")
        if trainer.is_global_zero and unfinished.is_dir():
            shutil.rmtree(unfinished)
        trainer.strategy.barrier("before a checkpoint")
        trainer.save_checkpoint(unfinished)
        sums = checked_shares(unfinished) if unfinished.is_dir() else {}
        if not trainer.is_global_zero:
            return
        if unfinished.is_dir():
            seal(unfinished, sums)
        commit(unfinished, path)
        for logger in trainer.loggers:
            if figures:
                logger.log_metrics(figures, trainer.global_step - 1)
            logger.save()
        movable = [old for old in saved(self.folder) if step_of(old) not in self.keep]
        for old in movable[: -self.last]:
            remove(old)


class SameStart(Callback):
    """Has all processes agree on where they start, which each has looked up by itself.

    Args:
        start: The checkpoint that this process starts from; None = from nothing.
    """

    def __init__(self, start: Path | None) -> None:
        super().__init__()
        self.start = None if start is None else start.name

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compares.

        Raises:
            ValueError: They differ.
        """
        if trainer.world_size == 1:
            return
        found: list[str | None] = [None] * trainer.world_size
        torch.distributed.all_gather_object(found, self.start)
        if len(set(found)) > 1:
            starts = ", ".join(f"process {rank}: {start or 'nothing'}" for rank, start in enumerate(found))
            raise ValueError(
                f"out must be one folder for all nodes, and processes found other checkpoints in it ({starts}); "
                "put it where all nodes see it"
            )


def commit(unfinished: Path, path: Path) -> None:
    """Gives a file or folder that is complete its name, so that a reader finds it whole or not at all."""
    if unfinished.is_dir():
        if path.exists():  # damaged, and made again
            shutil.rmtree(path)
    else:
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
    os.replace(unfinished, path)
    if os.name == "posix":  # the name itself, which elsewhere cannot be waited for
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def remove(checkpoint: Path) -> None:
    """Removes a checkpoint, whichever kind it is."""
    if checkpoint.is_dir():
        shutil.rmtree(checkpoint)
    else:
        checkpoint.unlink()


def saved(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    return sorted(Path(folder).glob("step-*.ckpt"))


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was made."""
    return int(checkpoint.stem.removeprefix("step-"))


def latest(folder: Path) -> Path | None:
    """The latest checkpoint that is whole; says so where a later one is damaged. None = there is none."""
    for path in reversed(saved(folder)):
        damage = _damage(path)
        if damage is None:
            return path
        rank_zero_info(f"{path} is damaged ({damage}); going on from the checkpoint before it")
    return None


def read_record(checkpoint: Path) -> dict[str, Any]:
    """What `Checkpoints` added to a checkpoint: run, seconds, loss, lowest_openness."""
    file = checkpoint / REST if checkpoint.is_dir() else checkpoint
    return torch.load(file, weights_only=True, map_location="cpu")[RECORD]


def _damage(path: Path) -> str | None:
    """Why a file or folder is no whole checkpoint (checksums are compared); None = it is whole."""
    if path.is_dir():
        return broken_seal(path)
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return str(error)
    return None if broken is None else f"{broken} does not match its checksum"
