"""A stage of training: how long, on how much, which parts at which learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, get_args

Decay = Literal["cosine", "linear", "constant"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"]

OptimizerName = Literal["adamw", "muon"]

PARTS = ("tower", "compressor", "projector", "context", "language", "lora", "gaze")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of training. Everything that a restart must find unchanged is here.

    The published recipe is two of them: the projector alone, then everything (Cambrian-1; LLaVA).

    Example:
        >>> from gazekit.training import Stage
        >>> align = Stage(name="align", steps=200, batch_size=32, learning_rates={"projector": 1e-3})
        >>> align.factor(step=0) < align.factor(step=20)
        True

    Attributes:
        name: Names the stage's folder: letters, digits, "-" and "_".
        steps: Optimizer steps.
        batch_size: Samples per optimizer step, over all devices and accumulated batches together.
        learning_rates: Peak learning rate of each part that is trained. Parts that are not named, or whose rate is
            None, are frozen. The parts of a Cambrian are tower, compressor, projector, context, language, gaze (what
            its composition learns) and lora, where it has adapters; of another's model tower, projector, language,
            lora, context and gaze.
        warmup: Steps over which the rate rises to its peak; below 1, a share of `steps`.
        decay: How the rate falls from its peak to the end.
        final: What the rate ends at, as a share of the peak.
        optimizer: "adamw", or "muon": Muon for the matrices of the decoder's layers, AdamW for the rest.
        weight_decay: Decoupled from the gradient; none on norms, biases and embeddings.
        betas: AdamW's.
        clip: Largest norm of all gradients together; None = not clipped.
        accumulate: Batches whose gradients make one step.
        precision: As Lightning names it.
        gradient_checkpointing: Computes activations again in the backward instead of keeping them.
        ema: Decay of an exponential moving average of the weights, taken after every step; the stage ends with the
            average. None = no average. Not for models that are sharded.
        feature_cache: Folder that keeps the features of a frozen tower, so that each image and frame is encoded once
            (`FeatureCache`); None = they are not kept.
        feature_cache_gib: GiB that this folder may hold.
        openness: Openness of the routing throughout, 1 = dense, 0 = the target; None = as the model's own schedule
            says at the stage's progress.
        checkpoint_every: Steps between checkpoints.

    Raises:
        ValueError: A field out of its range; the message names it.
    """

    name: str
    steps: int
    batch_size: int
    learning_rates: Mapping[str, float | None] = field(default_factory=dict)
    warmup: int | float = 0.03
    decay: Decay = "cosine"
    final: float | int = 0.0
    optimizer: OptimizerName = "adamw"
    weight_decay: float | int = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float | int | None = 1.0
    accumulate: int = 1
    precision: Precision = "32-true"
    gradient_checkpointing: bool = False
    ema: float | None = None
    feature_cache: str | None = None
    feature_cache_gib: float | int = 100
    openness: float | int | None = None
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        if not self.name or not self.name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(
                f"name must be letters, digits, '-' and '_', got {self.name!r}; it names the stage's folder"
            )
        for name in ("steps", "batch_size", "accumulate", "checkpoint_every"):
            _at_least_one(name, getattr(self, name))
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size must be a multiple of accumulate, got {self.batch_size} and {self.accumulate}; "
                "batch_size counts the samples of a whole step"
            )
        self._check_rates()
        self._check_optimizer()
        self._check_extras()
        if self.openness is not None and not 0 <= self.openness <= 1:
            raise ValueError(
                f"openness must be between 0 (the target) and 1 (dense), got {self.openness}; "
                "leave it out to follow the model's schedule"
            )

    def _check_rates(self) -> None:
        for part, rate in self.learning_rates.items():
            if rate is not None and not 0 < rate < math.inf:
                raise ValueError(
                    f"learning_rates[{part!r}] must be above 0, got {rate}; give null or leave it out to freeze it"
                )
        if not self.rates:
            raise ValueError(
                f"learning_rates must train at least one part, got {dict(self.learning_rates)}; "
                'for example {"projector": 1e-3}'
            )
        if self.warmup < 0 or self.warmup_steps > self.steps:
            raise ValueError(
                f"warmup must be between 0 and steps ({self.steps}), got {self.warmup}; below 1 it is a share of them"
            )
        if self.decay not in get_args(Decay):
            raise ValueError(f"decay must be one of {', '.join(get_args(Decay))}, got {self.decay!r}")
        if not 0 <= self.final <= 1:
            raise ValueError(f"final must be between 0 and 1, a share of the peak rate, got {self.final}")

    def _check_optimizer(self) -> None:
        if self.optimizer not in get_args(OptimizerName):
            raise ValueError(
                f"optimizer must be one of {', '.join(get_args(OptimizerName))}, got {self.optimizer!r}"
            )
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}; 0 turns it off")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be at least 0 and below 1, got {self.betas}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be above 0, got {self.clip}; null turns it off")
        if self.precision not in get_args(Precision):
            raise ValueError(
                f"precision must be one of {', '.join(get_args(Precision))}, got {self.precision!r}"
            )

    def _check_extras(self) -> None:
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(
                f"ema must be between 0 and 1, for example 0.999, got {self.ema}; null turns it off"
            )
        if self.feature_cache is not None and "tower" in self.rates:
            raise ValueError(
                "feature_cache keeps the features of a frozen tower, and learning_rates trains it; freeze the tower, "
                "or leave feature_cache out"
            )
        if not self.feature_cache_gib > 0:
            raise ValueError(f"feature_cache_gib must be above 0, got {self.feature_cache_gib}")

    @property
    def rates(self) -> dict[str, float]:
        """The peak learning rates of the parts that are trained."""
        return {part: rate for part, rate in self.learning_rates.items() if rate is not None}

    @property
    def warmup_steps(self) -> int:
        """Steps over which the rate rises."""
        return math.ceil(self.warmup * self.steps) if self.warmup < 1 else int(self.warmup)

    def factor(self, step: int) -> float:
        """The share of the peak rate at a step, 0 to 1. It depends on the step alone, so a restart cannot miss it."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        left = 1 - (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        shapes = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
        return self.final + (1 - self.final) * shapes[self.decay]

    def local_batch_size(self, num_devices: int = 1) -> int:
        """Samples in each batch of each device.

        Raises:
            ValueError: `batch_size` cannot be divided so.
        """
        share, rest = divmod(self.batch_size, self.accumulate * num_devices)
        if rest:
            raise ValueError(
                f"batch_size must be a multiple of accumulate times devices ({self.accumulate} x {num_devices}), "
                f"got {self.batch_size}"
            )
        return share

    def trainer_arguments(self) -> dict[str, Any]:
        """What a Lightning Trainer must be told: ``Trainer(**stage.trainer_arguments())``."""
        return {
            "max_steps": self.steps,
            "accumulate_grad_batches": self.accumulate,
            "precision": self.precision,
        }

    def as_dict(self) -> dict[str, Any]:
        """The stage in plain values, for JSON."""
        return {**asdict(self), "learning_rates": dict(self.learning_rates), "betas": list(self.betas)}


def check_parts(rates: Iterable[str], present: Iterable[str]) -> None:
    """Refuses names that are no part of the model.

    A standard part that this model does without, such as a compressor, may be named: one recipe then serves models
    with and without it.

    Raises:
        ValueError: A name that is neither a part of the model nor a standard one.
    """
    known = list(dict.fromkeys([*present, *PARTS]))
    for part in rates:
        if part not in known:
            near = get_close_matches(part, known, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"learning_rates names the part {part!r}, which the model does not have; "
                f"did you mean {near!r}? Its parts: {', '.join(present)}"
            )


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
