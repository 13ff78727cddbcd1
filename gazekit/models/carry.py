"""Trained weights into a model of another shape: what lies between tower and decoder, from a run or from a file."""

from __future__ import annotations

import logging
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gazekit.models.projector import widened
from gazekit.models.readable import readable

_log = logging.getLogger(__name__)

_LAYERS = ("first.weight", "first.bias", "second.weight", "second.bias")
_BETWEEN = ("compressor", "projector", "context")
# Of `mlp2x_gelu` as nn.Sequential: two layers with an activation between them.
_PUBLISHED = {"0": "first", "2": "second"}


def between(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a Cambrian's compressor, projector and context tokens."""
    return {k: v for k, v in model.state_dict().items() if k.split(".")[0] in _BETWEEN}


@torch.no_grad()
def carry(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copies what lies between tower and decoder from a model of another shape.

    A projector is spread over a wider one, so that the model says at first what the mean over tokens or frames would
    have said (`widened`). What has no counterpart of its shape stays as it was drawn: a convolution that comes in
    starts as the mean, context tokens of another number are new.

    Args:
        model: A Cambrian; changed in place.
        state: What `between` gave.

    Raises:
        ValueError: The projector's widths are not the model's.
    """
    own = between(model)
    layers = {name: own[f"projector.{name}"] for name in _LAYERS}
    given = widened({name: state[f"projector.{name}"] for name in _LAYERS}, layers)
    for name, value in given.items():
        layers[name].copy_(value)
    for name in own.keys() & state.keys() - {f"projector.{name}" for name in _LAYERS}:
        if own[name].shape == state[name].shape:
            own[name].copy_(state[name])


def load_projector(model: nn.Module, file: str | os.PathLike) -> None:
    """Reads a projector that the code of Cambrian or LLaVA saved (`mm_projector.bin`) into a Cambrian, in place.

    The file holds `mm_projector.0` and `mm_projector.2` (two linear layers) and often `image_newline`, under any
    prefix. It is read as plain tensors: loading it runs no code.

    Args:
        model: A Cambrian; its projector may be wider (`carry`).
        file: As `torch.save` or safetensors wrote it.

    Raises:
        ValueError: The file holds something else, or a projector of other widths.
    """
    state: dict[str, Tensor] = {}
    other = []
    for name, value in _read(Path(file)).items():
        layer = re.search(r"(?:^|\.)mm_projector\.(\d+)\.(weight|bias)$", name)
        if layer is not None and layer[1] in _PUBLISHED:
            state[f"projector.{_PUBLISHED[layer[1]]}.{layer[2]}"] = value
        elif re.search(r"(?:^|\.)image_newline$", name):
            state["projector.newline"] = value
        else:
            other.append(name)
    lacking = [name for name in _LAYERS if f"projector.{name}" not in state]
    if other or lacking:
        raise ValueError(
            f"{file} must hold the two layers of a projector (mm_projector.0 and .2) and no more than image_newline, "
            f"got {', '.join(sorted(other)[:3]) or 'no ' + lacking[0]}; other kinds of projector cannot be read"
        )
    if "projector.newline" in state and "projector.newline" not in between(model):
        _log.warning("%s has a newline, which a model without row_newlines leaves out", file)
    carry(model, state)


# What torch raises beside, on an archive that is cut and on what is none.
_GARBLED = (RuntimeError, LookupError, struct.error)


def _read(file: Path) -> Mapping[str, Any]:
    with readable(file, *_GARBLED):
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(found, Mapping):
        raise ValueError(
            f"{file} must hold tensors by name, got {type(found).__name__}; name an mm_projector.bin"
        )
    return found
