"""Opens and closes the routing over a stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

from gazekit.contracts import Schedule
from gazekit.gaze import Gaze
from gazekit.training.stage import Stage

Openness = float | tuple[float, ...]
"""One for all layers, or one for each."""


def schedules_of(model: nn.Module) -> tuple[Schedule | None, ...]:
    """The schedule of each layer, by layer index; None for a layer that does not route."""
    gazes = [gaze for module in model.modules() if isinstance(gaze := getattr(module, "gaze", None), Gaze)]
    return tuple(gaze.schedule if gaze.routes else None for gaze in gazes)


def openness_at(stage: Stage, schedules: Sequence[Schedule | None], step: int) -> Openness | None:
    """Openness of a step of a stage; None = nothing routes. It depends on the step alone.

    One number where all layers that route agree; else one for each layer, 1 for those that do not route.
    """
    if stage.openness is not None:
        return float(stage.openness)
    deepest = max(1, len(schedules) - 1)
    each = [
        None if schedule is None else float(schedule(step / stage.steps, layer / deepest))
        for layer, schedule in enumerate(schedules)
    ]
    values = {openness for openness in each if openness is not None}
    if len(values) > 1:
        return tuple(1.0 if openness is None else openness for openness in each)
    return values.pop() if values else None


def lowest_of(openness: Openness | None) -> float:
    """Openness of the layer that is closed furthest; 1 where nothing routes."""
    if openness is None:
        return 1.0
    return min(openness) if isinstance(openness, tuple) else openness


def mean_of(openness: Openness) -> float:
    """Openness on average over the layers."""
    return sum(openness) / len(openness) if isinstance(openness, tuple) else openness


def open_steps(model: nn.Module, stage: Stage) -> int:
    """How many steps from the first on run dense: what this stage shares with a dense stage."""
    schedules = schedules_of(model)
    steps = range(stage.steps)
    return next((step for step in steps if lowest_of(openness_at(stage, schedules, step)) < 1), stage.steps)


class OpennessCallback(Callback):
    """Sets the module's openness before each step, from the stage's progress.

    `CambrianModule` brings it along; a Trainer need not be given one.

    Args:
        stage: The stage whose progress counts.
        model: The model whose schedules are followed.
    """

    def __init__(self, stage: Stage, model: nn.Module) -> None:
        super().__init__()
        self.stage = stage
        self.schedules = schedules_of(model)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Sets the openness of the step that this batch belongs to."""
        pl_module.openness = openness_at(self.stage, self.schedules, trainer.global_step)
