"""The conditions that a fit runs under: which device, reproducible arithmetic, no known noise."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_only

from gazekit.training.allocator import keep_memory
from gazekit.training.machine import Machine
from gazekit.training.stage import Precision

_tensors: Any = torch.utils.deterministic

DEVICES = ("auto", "cpu", "cuda", "mps")

_NOISE = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated.*",  # Lightning 2.6 on torch 2.13
    r"'set_vital' is deprecated, please do not call",  # torchdata 0.11 on torch 2.13
    r".*does not have many workers which may be a bottleneck.*",
    r".*is smaller than the logging interval.*",
    r"You're using the WeightAveraging callback with a model that overrides the configure_model.*",  # never sharded
    r".*You defined a `validation_step` but have no `val_dataloader`.*",
)


def device_arguments(
    device: str, machine: Machine | None = None, precision: Precision = "32-true"
) -> dict[str, Any]:
    """What a Trainer must be told about the machine.

    Args:
        device: One of `DEVICES`; "auto" takes CUDA, then MPS, then the CPU.
        machine: Its processes; None = one.
        precision: As Lightning names it.

    Raises:
        ValueError: An unknown device, one that this machine does not have, or other processes than were started.
    """
    machine = machine or Machine()
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {device!r}")
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
        "auto": True,
    }
    if not present[device]:
        raise ValueError(f"device {device!r} is not available on this machine; use device='auto' or 'cpu'")
    total = num_processes(device, machine)
    strategy: Any = "auto"
    timeout = timedelta(seconds=machine.timeout)
    if machine.strategy == "fsdp2":
        strategy = ModelParallelStrategy(data_parallel_size=total, tensor_parallel_size=1, timeout=timeout)
        # The shares keep what is mixed by a rule of their own.
        precision = "32-true" if precision == "bf16-mixed" else precision
    elif total > 1 or machine.strategy == "ddp":
        # Buffers are constants here, the same everywhere.
        strategy = DDPStrategy(timeout=timeout, broadcast_buffers=False)
    return {
        "accelerator": device,
        "devices": total // machine.num_nodes,
        "num_nodes": machine.num_nodes,
        "strategy": strategy,
        "precision": precision,
    }


def num_processes(device: str, machine: Machine) -> int:
    """Processes of a run on a kind of device, over all nodes.

    Raises:
        ValueError: A launcher has started another number of them.
    """
    return machine.total(1 if on_cpu(device) or device == "mps" else torch.cuda.device_count())


def is_main_process() -> bool:
    """Whether this process is the one that writes what all of them have come to."""
    return not rank_zero_only.rank


def on_cpu(device: str) -> bool:
    """Whether a fit on this device runs on the CPU."""
    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    return device == "cpu" or (device == "auto" and not accelerated)


@contextmanager
def session(device: str) -> Iterator[None]:
    """Runs a fit quietly, and on the CPU reproducibly: several threads would else add up gradients in any order.

    There the process also keeps its memory from step to step (`keep_memory`), from then on. Only notices that say
    nothing about the run are silenced, each by its text.
    """
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    deterministic = torch.are_deterministic_algorithms_enabled()
    filled = _tensors.fill_uninitialized_memory
    if on_cpu(device):
        keep_memory()
    if on_cpu(device) and not deterministic:
        _tensors.fill_uninitialized_memory = False
        torch.use_deterministic_algorithms(True)
    logger.setLevel(max(level, logging.WARNING))
    try:
        with warnings.catch_warnings():
            for message in _NOISE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(level)
        torch.use_deterministic_algorithms(deterministic)
        _tensors.fill_uninitialized_memory = filled
