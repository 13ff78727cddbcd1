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

from gazekit.training.checkpoints import Checkpoints, SameStart, commit, latest, read_record
from gazekit.training.failure import explained
from gazekit.training.features import cached_features
from gazekit.training.history import loggers
from gazekit.training.machine import Machine
from gazekit.training.module import CambrianModule
from gazekit.training.progress import Progress
from gazekit.training.session import device_arguments, num_processes, session
from gazekit.training.shares import read_shares
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
    machine: Machine | None = None,
    keep: Collection[int] = (),
    progress: bool = True,
    log_every: int = 10,
    callbacks: Sequence[Callback] = (),
) -> StageResult:
    """Trains one stage in place, or goes on with it, or loads its weights where it is finished.

    Args:
        model: Trained in place.
        data: Hands out `stage.local_batch_size(num_devices)` samples a batch, to each process its own.
        stage: What to train.
        folder: The stage's folder, laid out as `run` says.
        seed: Seeds the generators at the first step.
        device: "auto", "cpu", "cuda" or "mps".
        machine: The processes to train in; None = this one.
        keep: Steps whose checkpoints stay.
        progress: Shows a progress bar and the table of learning rates.
        log_every: Steps between logged rows.
        callbacks: More of Lightning's.

    Raises:
        ValueError: The folder holds another stage or seed, or a field is out of its range.
    """
    folder = Path(folder)
    spread = machine or Machine()
    module = CambrianModule(
        model, stage, seed=seed, verbose=progress, compiled=spread.compile, peak_tflops=spread.peak_tflops
    )
    return fit_module(
        module, model, data, stage, folder,
        seed=seed, device=device, machine=machine, keep=keep, progress=progress, log_every=log_every,
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
    machine: Machine | None = None,
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
    machine = machine or Machine()
    arguments = device_arguments(device, machine, stage.precision)
    described |= {"processes": num_processes(device, machine), "sharded": machine.strategy == "fsdp2"}
    if described["sharded"] and stage.ema is not None:
        raise ValueError("ema must be null where the model is sharded; leave it out, or set strategy=ddp")
    checkpoints = Checkpoints(folder / "checkpoints", every=stage.checkpoint_every, keep=keep, run=described)
    with session(device), cached_features(model, stage.feature_cache, stage.feature_cache_gib):
        start = latest(checkpoints.folder)
        if start is not None:
            found = read_record(start)["run"]
            check_same_run(found, described, folder)
            check_same_processes(found, described, folder)
        shown = [Progress()] if progress else []
        trainer = Trainer(
            **{**stage.trainer_arguments(), **arguments},
            logger=loggers(folder, log_every),
            log_every_n_steps=log_every,
            callbacks=[checkpoints, SameStart(start), *shown, *_averaging(stage), *callbacks],
            enable_progress_bar=progress or any(isinstance(one, ProgressBar) for one in callbacks),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            limit_val_batches=0,
        )
        with explained(trainer, machine.timeout):
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
    if path.is_dir():
        state = read_shares(path)
    else:
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


def check_same_processes(found: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> None:
    """Refuses to go on in other processes: each has a place in the data and random generators of its own.

    Raises:
        ValueError: Naming what the run was spread over.
    """
    was, now = ((run.get("processes", 1), run.get("sharded", False)) for run in (found, given))
    if was == now:
        return
    said, wanted = (
        f"{'one process' if count == 1 else f'{count} processes'}{', sharded' if sharded else ''}"
        for count, sharded in (was, now)
    )
    strategy = "fsdp2" if was[1] else "auto"
    raise ValueError(
        f"{folder} holds a run in {said}, and this one is in {wanted}: it would not go on with the same batches; "
        f"start it with training.strategy={strategy} and {was[0]} devices over all nodes, or choose another folder"
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
