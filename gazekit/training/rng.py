"""The random generators that a step draws from, the same whatever happens between steps."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

_KEY = "generators"


class Generators(Callback):
    """Seeds training, and hands the generators on from step to step and over restarts.

    Loaders, validation and other callbacks draw from the same global generators between steps, and not alike before
    and after a restart. So each step starts where the step before it stopped.

    Args:
        seed: Seeds torch, NumPy and Python at the first step; ranks get seeds of their own.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self._state: dict[str, Any] | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seeds, unless a checkpoint was loaded."""
        if self._state is None:
            seed_all(self.seed + trainer.global_rank)
            self._state = rng_state()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Puts the generators to where the last step left them."""
        assert self._state is not None
        set_rng_state(self._state)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes where this step leaves them."""
        self._state = rng_state()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the generators of every rank."""
        states: list[Any] = [self._state]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, self._state)
        checkpoint[_KEY] = states

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes up this rank's generators; a rank that the saved run lacked is seeded anew."""
        states = checkpoint.get(_KEY, [])
        self._state = states[trainer.global_rank] if trainer.global_rank < len(states) else None


def seed_all(seed: int) -> None:
    """Seeds Python's, NumPy's and torch's global generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """The generators' state in plain values and tensors, which ``torch.load(weights_only=True)`` reads."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [str(name), torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Puts the generators back to where `rng_state` found them."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    name, numpy_keys, *rest = state["numpy"]
    np.random.set_state((name, numpy_keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
