"""What several commands need before they start."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def device_of(arguments: argparse.Namespace) -> str:
    """The device that `--device` comes to."""
    from gazekit.contracts.device import choose_device

    return choose_device(arguments.device)


def dtype_of(arguments: argparse.Namespace) -> torch.dtype:
    """The type that `--dtype` names."""
    import torch

    return {"bf16": torch.bfloat16, "fp32": torch.float32}[arguments.dtype]


def load_quietly() -> None:
    """Keeps transformers' own progress bars (loading, saving) quiet; read when it is first imported."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def model_folder(model: Path) -> Path:
    """The folder, which must be that of a saved model.

    Raises:
        FileNotFoundError: It has no `config.json`.
    """
    if not (model / "config.json").is_file():
        raise FileNotFoundError(f"{model} is no saved model: it has no config.json")
    return model
