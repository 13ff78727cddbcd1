"""The conditions that a fit runs under: which device, reproducible arithmetic, no known noise."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_tensors: Any = torch.utils.deterministic

DEVICES = ("auto", "cpu", "cuda", "mps")

_NOISE = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated.*",  # Lightning 2.6 on torch 2.13
    r"'set_vital' is deprecated, please do not call",  # torchdata 0.11 on torch 2.13
    r".*does not have many workers which may be a bottleneck.*",
    r".*is smaller than the logging interval.*",
    r".*You defined a `validation_step` but have no `val_dataloader`.*",
)


def device_arguments(device: str, num_devices: int = 1) -> dict[str, Any]:
    """What a Trainer must be told about the machine.

    Args:
        device: One of `DEVICES`; "auto" takes CUDA, then MPS, then the CPU.
        num_devices: Devices or, on a CPU, processes.

    Raises:
        ValueError: An unknown device, one that this machine does not have, or fewer than one.
    """
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {device!r}")
    if num_devices < 1:
        raise ValueError(f"num_devices must be at least 1, got {num_devices}")
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
        "auto": True,
    }
    if not present[device]:
        raise ValueError(f"device {device!r} is not available on this machine; use device='auto' or 'cpu'")
    strategy = "auto" if num_devices == 1 else "ddp_find_unused_parameters_true"
    return {"accelerator": device, "devices": num_devices, "strategy": strategy}


def on_cpu(device: str) -> bool:
    """Whether a fit on this device runs on the CPU."""
    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    return device == "cpu" or (device == "auto" and not accelerated)


@contextmanager
def session(device: str) -> Iterator[None]:
    """Runs a fit reproducibly on the CPU (several threads would else add up gradients in any order), and quietly.

    Only notices that say nothing about the run are silenced, each by its text.
    """
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    deterministic = torch.are_deterministic_algorithms_enabled()
    filled = _tensors.fill_uninitialized_memory
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
