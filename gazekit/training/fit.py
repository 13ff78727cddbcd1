"""Trains one stage, or goes on with it where a killed run stopped."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ProgressBar
from safetensors.torch import load_file, load_model, save_model
from torch import Tensor, nn

from gazekit.training.checkpoints import Checkpoints, commit, latest, read_record
from gazekit.training.features import cached_features
from gazekit.training.history import loggers
from gazekit.training.module import CambrianModule
from gazekit.training.progress import Progress
from gazekit.training.session import device_arguments, session
from gazekit.training.stage import Stage

# A restart may change these: they say how a step is computed or kept, not what it computes.
_FREE = ("checkpoint_every", "gradient_checkpointing", "feature_cache", "feature_cache_gib")
_WEIGHTS = "final.safetensors"
_DONE = "done.json"


@dataclass(frozen=True)
class StageResult:
    """What a finished stage leaves behind.

    Attributes:
        name: The stage.
        folder: Its folder.
        steps: Optimizer steps taken.
        seconds: Time in training, over all restarts.
        loss: Mean loss over the supervised tokens of the last step.
    """

    name: str
    folder: Path
    steps: int
    seconds: float
    loss: float


def fit_stage(
    model: nn.Module,
    data: LightningDataModule,
    stage: Stage,
    folder: Path | str,
    *,
    seed: int = 0,
    device: str = "auto",
    num_devices: int = 1,
    keep: Collection[int] = (),
    progress: bool = True,
    log_every: int = 10,
    callbacks: Sequence[Callback] = (),
) -> StageResult:
    """Trains one stage in place, or goes on with it, or loads its weights where it is finished.

    Args:
        model: Trained in place.
        data: Hands out `stage.local_batch_size(num_devices)` samples a batch.
        stage: What to train.
        folder: The stage's folder, laid out as `run` says.
        seed: Seeds the generators at the first step.
        device: "auto", "cpu", "cuda" or "mps".
        num_devices: Devices to train on.
        keep: Steps whose checkpoints stay.
        progress: Shows a progress bar and the table of learning rates.
        log_every: Steps between logged rows.
        callbacks: More of Lightning's.

    Raises:
        ValueError: The folder holds another stage or seed, or a field is out of its range.
    """
    folder = Path(folder)
    module = CambrianModule(model, stage, seed=seed, verbose=progress)
    return fit_module(
        module, model, data, stage, folder,
        seed=seed, device=device, num_devices=num_devices, keep=keep, progress=progress, log_every=log_every,
        callbacks=callbacks,
    )  # fmt: skip


def fit_module(
    module: LightningModule,
    model: nn.Module,
    data: LightningDataModule | Iterable[Mapping[str, Tensor]],
    stage: Stage,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    num_devices: int = 1,
    keep: Collection[int] = (),
    progress: bool = True,
    log_every: int = 10,
    callbacks: Sequence[Callback] = (),
) -> StageResult:
    """What `fit_stage` does, for a LightningModule of one's own; `model` is what is saved at the end.

    The module has `stage`, `loss`, `openness` and `figures()`, as `CambrianModule` has.

    Raises:
        ValueError: The folder holds another stage or seed, or a field is out of its range.
    """
    described = {"stage": stage.as_dict(), "seed": seed}
    if (folder / _DONE).exists():
        return _finished(model, folder, described)
    machine = device_arguments(device, num_devices)
    checkpoints = Checkpoints(folder / "checkpoints", every=stage.checkpoint_every, keep=keep, run=described)
    with session(device), cached_features(model, stage.feature_cache, stage.feature_cache_gib):
        start = latest(checkpoints.folder)
        if start is not None:
            check_same_run(read_record(start)["run"], described, folder)
        trainer = Trainer(
            **stage.trainer_arguments(),
            **machine,
            logger=loggers(folder, log_every),
            log_every_n_steps=log_every,
            callbacks=[checkpoints, *([Progress()] if progress else []), *_averaging(stage), *callbacks],
            enable_progress_bar=progress or any(isinstance(one, ProgressBar) for one in callbacks),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
        )
        if isinstance(data, LightningDataModule):
            trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
        else:
            trainer.fit(module, data, ckpt_path=start, weights_only=True)
    result = StageResult(stage.name, folder, trainer.global_step, checkpoints.seconds, float(module.loss))
    if trainer.is_global_zero:
        _finish(model, folder, described, result)
    return result


def _averaging(stage: Stage) -> list[Callback]:
    """What keeps the moving average of the weights. Buffers are not averaged: some of them are numbers of places."""
    return [] if stage.ema is None else [EMAWeightAveraging(decay=stage.ema, use_buffers=False)]


def latest_weights(folder: Path | str) -> dict[str, Tensor] | None:
    """What a stage has come to: its weights at the end, else those of its latest checkpoint; None = it has none.

    Args:
        folder: The stage's.
    """
    folder = Path(folder)
    if (folder / _WEIGHTS).is_file():
        return load_file(folder / _WEIGHTS)
    path = latest(folder / "checkpoints")
    if path is None:
        return None
    state = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    return {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}


def check_same_run(found: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> None:
    """Refuses to go on with a stage under other settings.

    Raises:
        ValueError: Naming the settings that differ.
    """
    was = {**found["stage"], "seed": found["seed"]}
    now = {**given["stage"], "seed": given["seed"]}
    other = [name for name in now if name not in _FREE and was.get(name) != now[name]]
    if other:
        changes = ", ".join(f"{name} was {was.get(name)!r} and is {now[name]!r}" for name in other)
        raise ValueError(
            f"{folder} holds a run with other settings: {changes}; restore them, or choose another folder"
        )


def _finish(model: nn.Module, folder: Path, described: Mapping[str, Any], result: StageResult) -> None:
    unfinished = folder / "final.unfinished"
    save_model(model, str(unfinished))
    commit(unfinished, folder / _WEIGHTS)
    record = {**described, "result": {**asdict(result), "folder": None}}
    unfinished = folder / "done.unfinished"
    unfinished.write_text(json.dumps(record, indent=2))
    commit(unfinished, folder / _DONE)


def _finished(model: nn.Module, folder: Path, described: Mapping[str, Any]) -> StageResult:
    record = json.loads((folder / _DONE).read_text())
    check_same_run(record, described, folder)
    load_model(model, folder / _WEIGHTS)
    return StageResult(**{**record["result"], "folder": folder})
