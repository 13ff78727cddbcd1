"""Opens and closes the routing over a stage."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

from gazekit.contracts import Schedule
from gazekit.gaze import Gaze
from gazekit.training.stage import Stage


def schedule_of(model: nn.Module) -> Schedule | None:
    """The schedule of a model's routing layers; None where nothing routes.

    Raises:
        ValueError: Layers with different schedules.
    """
    gazes = [gaze for module in model.modules() if isinstance(gaze := getattr(module, "gaze", None), Gaze)]
    schedules: list[Schedule] = []
    for gaze in gazes:
        if gaze.routes and gaze.schedule not in schedules:
            schedules.append(gaze.schedule)
    if len(schedules) > 1:
        raise ValueError(
            f"schedule must be the same in all routing layers, got {', '.join(map(repr, schedules))}; "
            "give one, or fix the stage's openness"
        )
    return schedules[0] if schedules else None


def openness_at(stage: Stage, schedule: Schedule | None, step: int) -> float | None:
    """Openness of a step of a stage; None = nothing routes. It depends on the step alone."""
    if stage.openness is not None:
        return float(stage.openness)
    return None if schedule is None else float(schedule(step / stage.steps))


def open_steps(model: nn.Module, stage: Stage) -> int:
    """How many steps from the first on run dense: what this stage shares with a dense stage.

    Raises:
        ValueError: Layers with different schedules.
    """
    schedule = schedule_of(model)
    steps = range(stage.steps)
    return next(
        (step for step in steps if openness_at(stage, schedule, step) not in (None, 1.0)), stage.steps
    )


class OpennessCallback(Callback):
    """Sets the module's openness before each step, from the stage's progress.

    `CambrianModule` brings it along; a Trainer need not be given one.

    Args:
        stage: The stage whose progress counts.
        model: The model whose schedule is followed.
    """

    def __init__(self, stage: Stage, model: nn.Module) -> None:
        super().__init__()
        self.stage = stage
        self.schedule = None if stage.openness is not None else schedule_of(model)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Sets the openness of the step that this batch belongs to."""
        pl_module.openness = openness_at(self.stage, self.schedule, trainer.global_step)
