"""Pretrains a small vision tower on labelled pictures: what stands in for SigLIP's pretraining where none fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from gazekit.training.fit import StageResult, fit_module
from gazekit.training.groups import optimizer_groups, parts_of
from gazekit.training.rng import Generators, seed_all
from gazekit.training.stage import Stage

Windows = Mapping[str, Tensor]


@dataclass(frozen=True)
class TowerResult:
    """What pretraining a tower leads to.

    Attributes:
        accuracy: Share of held-out pictures named rightly.
        stage: The stage's result.
    """

    accuracy: float
    stage: StageResult


class TowerModule(LightningModule):
    """A tower under a linear head over the mean of its tokens, trained by cross-entropy.

    Args:
        tower: Called with `pixel_values`, returns an output with `last_hidden_state`.
        num_classes: Labels of the pictures.
        stage: How to train; its learning rate is that of the part "tower", and the head's too.
        label_smoothing: Share of each label that is spread over all classes.
        seed: Seeds the head and the training.
    """

    def __init__(
        self, tower: nn.Module, num_classes: int, stage: Stage, *, label_smoothing: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__()
        seed_all(seed)
        self.tower = tower
        self.head = nn.Linear(int(getattr(tower.config, "hidden_size")), num_classes)  # noqa: B009
        self.stage = stage
        self.seed = seed
        self.openness: float | None = None
        self.loss = float("nan")
        self.criterion = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
        self._accuracy = float("nan")
        tower.requires_grad_(True)

    def forward(
        self, pixel_values: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch label"]:
        """Logits of the labels."""
        return self.head(self.tower(pixel_values=pixel_values).last_hidden_state.mean(dim=1))

    def configure_optimizers(self) -> Optimizer:
        """AdamW over tower and head."""
        parts = parts_of(nn.ModuleDict({"tower": nn.ModuleList([self.tower, self.head])}), self.stage)
        return AdamW(optimizer_groups(parts, self.stage), betas=self.stage.betas)

    def configure_callbacks(self) -> list[Callback]:
        """What keeps the random generators."""
        return [Generators(self.seed)]

    def on_fit_start(self) -> None:
        """Leaves eval mode."""
        self.train()

    def training_step(self, batch: Windows, batch_idx: int) -> Float[Tensor, ""]:
        """Cross-entropy of a batch of pictures."""
        logits = self(batch["pixel_values"])
        loss = self.criterion(logits, batch["labels"])
        self.loss = float(loss.detach())
        self._accuracy = float((logits.argmax(-1) == batch["labels"]).float().mean())
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips to the stage's norm."""
        if self.stage.clip is not None:
            self.clip_gradients(optimizer, float(self.stage.clip), "norm")

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Sets the learning rate of this step, then steps."""
        for group in self.optimizers(use_pl_optimizer=False).param_groups:
            group["lr"] = self.stage.rates["tower"] * self.stage.factor(self.global_step)
        super().optimizer_step(*args, **kwargs)

    def on_train_batch_end(self, outputs: Any, batch: Windows, batch_idx: int) -> None:
        """Logs the step."""
        self.log_dict(self.figures())

    def figures(self) -> dict[str, float]:
        """What the latest step is described by."""
        return {"loss": self.loss, "accuracy": self._accuracy}


class StepData:
    """A loader whose batches are a function of the step; its position is saved with Lightning's checkpoints.

    Args:
        windows: The batch of a step, from 0.
        steps: Number of batches.
    """

    def __init__(self, windows: Callable[[int], Windows], steps: int) -> None:
        self.windows, self.steps, self.position = windows, steps, 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Windows]:
        while self.position < self.steps:
            self.position += 1
            yield self.windows(self.position - 1)

    def state_dict(self) -> dict[str, int]:
        """The position."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes to a saved position."""
        self.position = state["position"]


def pretrain_tower(
    tower: nn.Module,
    windows: Callable[[int], Windows],
    held_out: Iterable[Windows],
    stage: Stage,
    folder: Path | str,
    *,
    num_classes: int = 10,
    label_smoothing: float = 0.0,
    seed: int = 0,
    device: str = "auto",
    progress: bool = True,
) -> TowerResult:
    """Trains a tower to name pictures, in place; the head is thrown away. Resumes as `fit_stage` does.

    Args:
        tower: A vision model of transformers, or what behaves like one.
        windows: The training batch of a step: `pixel_values` and `labels`, the same whenever it is asked for.
        held_out: Batches of pictures that are never trained on.
        stage: How to train; names the learning rate of "tower".
        folder: The stage's folder.
        num_classes: Labels.
        label_smoothing: Share of each label that is spread over all classes.
        seed: Seeds the head and the training.
        device: "auto", "cpu", "cuda" or "mps".
        progress: Shows a progress bar.

    Raises:
        ValueError: The stage trains something else, or the folder holds another run.
    """
    if set(stage.rates) != {"tower"}:
        raise ValueError(f"learning_rates must be of the tower alone, got {dict(stage.learning_rates)}")
    module = TowerModule(tower, num_classes, stage, label_smoothing=label_smoothing, seed=seed)
    result = fit_module(
        module,
        module,
        StepData(windows, stage.steps),
        stage,
        Path(folder),
        seed=seed,
        device=device,
        progress=progress,
    )
    return TowerResult(accuracy=_accuracy(module, held_out), stage=result)


@torch.no_grad()
def _accuracy(module: TowerModule, held_out: Iterable[Windows]) -> float:
    """Share of pictures named rightly."""
    module.eval()
    right: list[Int[Tensor, " batch"]] = []
    for batch in held_out:
        right.append(module(batch["pixel_values"].to(module.device)).argmax(-1).cpu() == batch["labels"])
    return float(torch.cat(right).float().mean())
