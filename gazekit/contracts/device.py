"""Which device to run on."""

from __future__ import annotations

import torch


def missing(kind: str) -> str | None:
    """Why a kind of device ("cuda", "mps") cannot be used here; None = it can."""
    if kind == "cuda":
        if torch.cuda.is_available():
            return None
        return "torch sees no CUDA device" if torch.version.cuda else "this torch was built without CUDA"
    if torch.backends.mps.is_available():
        return None
    return "no Metal device" if torch.backends.mps.is_built() else "this torch was built without MPS"


def choose_device(device: str = "auto") -> str:
    """The device to run on, as torch names it.

    Args:
        device: "auto" (CUDA, else MPS, else the CPU), "cpu", "mps", "cuda", or one of several ("cuda:1").

    Raises:
        ValueError: The device has another name, or is not there.
    """
    if device == "auto":
        return next((kind for kind in ("cuda", "mps") if missing(kind) is None), "cpu")
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdecimal())):
        raise ValueError(f"device must be auto, cpu, mps, cuda or cuda:<number>, got {device!r}")
    if kind != "cpu" and (reason := missing(kind)):
        raise ValueError(f"device {device} cannot be used: {reason}; use auto or cpu")
    if index and int(index) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ValueError(f"device {device} is not there: CUDA devices are numbered 0 to {count - 1}")
    return device
