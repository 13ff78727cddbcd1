"""What was measured and with what: versions, and a model's weights by their fingerprint."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import nn

import gazekit

_PROBES = 64


def versions() -> dict[str, str]:
    """Versions of the libraries that decide answers and scores, by name; those that are not installed are left out."""
    found = {"gazekit": gazekit.__version__, "torch": torch.__version__}
    for name in ("transformers", "datasets", "pillow", "av"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def fingerprint(model: nn.Module) -> str:
    """A short name of a model's weights: of their names, shapes and types, and of values spread over each.

    It tells checkpoints of one training apart in a moment, and is no proof against someone who means to deceive.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        flat = value.detach().reshape(-1)
        probe = flat[:: max(1, len(flat) // _PROBES)].cpu()
        digest.update(probe.contiguous().view(torch.uint8).numpy().tobytes() if len(probe) else b"")
    return digest.hexdigest()
