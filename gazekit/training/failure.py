"""Says what it means when a process of a run waits for another in vain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch import Trainer

# gloo has no class of its own for them.
_WORDS = ("gloo", "nccl", "connection closed by peer", "connection reset by peer", "timed out waiting")


@contextmanager
def explained(trainer: Trainer, timeout: float) -> Iterator[None]:
    """Names process and remedy where another process has failed: this one's error alone would mislead.

    Args:
        trainer: What is run inside the block.
        timeout: Seconds that processes wait for each other.

    Raises:
        RuntimeError: Another process has ended, or has not come within the timeout.
    """
    try:
        yield
    except Exception as error:
        if trainer.world_size == 1 or not of_another(error):
            raise
        raise RuntimeError(
            f"process {trainer.global_rank} of {trainer.world_size} stopped in step {trainer.global_step}: another one "
            f"has failed, or did not come within {timeout:g} seconds (training.timeout); the first error that any of "
            "them printed is the cause; the same command goes on from the last checkpoint"
        ) from error


def of_another(error: BaseException) -> bool:
    """Whether an error says that a connection to another process has broken."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)
