"""How fast a run is: tokens and samples a second, and how much of the devices' arithmetic it uses."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from gazekit.models import sizes_of
from gazekit.training.attended import so_far
from gazekit.training.groups import Part

_PEAKS = {
    "B200": 2250.0, "H200": 989.0, "H100 PCIE": 756.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0,
    "A10": 125.0, "RTX 4090": 165.0, "RTX 3090": 71.0, "MI300X": 1307.0,
}  # fmt: skip
"""Dense bf16 products, 10^12 operations a second, as their makers state them; of several that fit, the first."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a step's arithmetic consists of: floating-point operations, forward and backward together.

    A product of weights takes 2 operations a weight and token forward, as many again for the gradient that goes on
    below it, and as many for the gradient of its weights; what has nothing trained at or below it takes no backward.
    Activations that are computed again (`gradient_checkpointing`) are not counted again, as is usual of utilisation.

    Attributes:
        token: A token of the decoder, without its attention.
        entry: A key that a query attends to, in all layers and heads.
        unit: An image or frame, through all that encodes.
    """

    token: float
    entry: float
    unit: float


def work_of(model: nn.Module, parts: Sequence[Part], *, cached: bool = False) -> Work | None:
    """The work of a model, from its config and its parameters; None where it has no decoder that is known.

    Args:
        model: Whole or sharded.
        parts: What is trained of it.
        cached: The tower's features are read from a disk.
    """
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "get_text_config"):
        return None
    text = config.get_text_config()
    sizes = sizes_of(text)
    by_name = {part.name: part for part in parts}
    language = by_name.get("language")
    if language is None:
        return None
    encoders = [by_name[name] for name in ("tower", "compressor", "projector", "context") if name in by_name]
    below = any(part.rate is not None for part in encoders)
    inside = any(name in by_name and by_name[name].rate is not None for name in ("lora", "gaze"))
    own = language.rate is not None
    # The table of embeddings is looked up, not multiplied, and as the output layer it counts once.
    # Some families say it of the whole model, not of its text.
    tied = getattr(text, "tie_word_embeddings", getattr(config, "tie_word_embeddings", False))
    weights = language.size - text.vocab_size * text.hidden_size * (0 if tied else 1)
    passes = 1 + (own or below or inside) + own
    flows = 3 if own or below or inside else 1
    per_entry = 4 * sizes.head_dim * sizes.num_heads * sizes.num_layers
    return Work(
        token=2.0 * weights * passes, entry=float(per_entry * flows), unit=_unit(config, encoders, cached)
    )


def _unit(config: Any, encoders: Sequence[Part], cached: bool) -> float:
    """Operations of one unit: every weight of what encodes at every patch, and attention among a tile's patches."""
    vision, patches = getattr(config, "vision_config", None), getattr(config, "patches", None)
    if vision is None or patches is None:
        return 0.0
    count = math.prod(patches) * config.frames_per_unit
    total, trained = 0.0, False
    for part in encoders:
        if part.name == "context" or (part.name == "tower" and cached):
            continue
        own = part.rate is not None
        trained = trained or own
        passes = 1 + 2 * own if part.name == "tower" else 1 + trained + own
        total += 2.0 * part.size * count * passes
        if part.name == "tower":
            tile = math.prod(patches) / math.prod(config.image_tiles)
            total += 4.0 * vision.hidden_size * vision.num_hidden_layers * tile * count * (3 if own else 1)
    return total


def entries_of(
    visual: Bool[Tensor, "batch token"],
    valid: Bool[Tensor, "batch token"],
    document: Int[Tensor, "batch token"],
    share: float,
) -> Float[Tensor, ""]:
    """Keys that the queries of a batch attend to in a layer and head, all together.

    Args:
        visual: True = a visual token.
        valid: True = real.
        document: Whose each token is.
        share: Of the visual tokens before a text query, what it attends to.
    """
    seen = so_far(visual, document)
    every = so_far(valid, document)
    routed = torch.where(visual, seen, seen * share)
    return ((every - seen + routed) * valid).sum().double()


def peak_of(device: torch.device) -> float | None:
    """What a device can do at most, in 10^12 operations a second; None = not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device).upper()
    return next((peak for known, peak in _PEAKS.items() if known in name), None)


class Meter:
    """Rates of the steps of a run; its clock runs from one step's end to the next's, waiting for data included.

    Args:
        peak: 10^12 operations a second that all devices together can do at most; None = no utilisation.
    """

    def __init__(self, peak: float | None) -> None:
        self.peak = peak
        self._since = time.perf_counter()

    def step(self, tokens: float, samples: float, operations: float) -> dict[str, float]:
        """The rates of the step that ends now, over all devices.

        Args:
            tokens: Real tokens of the decoder, visual ones included.
            samples: Conversations.
            operations: Floating-point operations; 0 = not known.
        """
        now = time.perf_counter()
        seconds, self._since = max(now - self._since, 1e-9), now
        rates = {"tokens_per_second": tokens / seconds, "samples_per_second": samples / seconds}
        if self.peak is not None and operations:
            rates["mfu"] = operations / seconds / (self.peak * 1e12)
        return rates
