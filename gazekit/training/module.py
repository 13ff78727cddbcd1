"""The LightningModule: one stage of training of a Cambrian-style model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from torch import Tensor, nn
from torch.optim import Optimizer

from gazekit.training.activations import checkpoint_activations
from gazekit.training.anchor import Reached, anchored
from gazekit.training.attended import Attended, measure, placeholders
from gazekit.training.groups import Part, freeze, parts_of, table
from gazekit.training.openness import Openness, OpennessCallback, mean_of
from gazekit.training.optimizers import begin_states, optimizer_of
from gazekit.training.rng import Generators
from gazekit.training.shard import gather, layers_of, shard
from gazekit.training.stage import Stage
from gazekit.training.throughput import Meter, Work, entries_of, peak_of, work_of

IGNORED = -100
_ENCODERS = ("tower", "compressor", "projector", "context")


class CambrianModule(LightningModule):
    """Trains the parts that a stage names, at the openness that the model's schedule says.

    The loss of a step is the mean over all supervised tokens of its global batch: how they are divided over devices
    and accumulated batches changes nothing.

    Example:
        >>> module = CambrianModule(model, Stage(name="align", steps=100, batch_size=8, learning_rates=rates))
        >>> Trainer(**module.stage.trainer_arguments()).fit(module, data)

    Args:
        model: Takes input_ids, attention_mask, labels, pixel_values, clip_lengths, num_items_in_batch and
            gaze_openness, and document_ids where samples are packed, and returns an output with `loss`: the sum over
            supervised tokens divided by num_items_in_batch. Its children are its parts.
        stage: What to train, how long, at which rates.
        seed: Seeds torch, NumPy and Python when training starts from its first step.
        verbose: Prints the table of learning rates when training starts.
        compiled: Compiles each of the model's layers (`torch.compile`).
        peak_tflops: What a device can do, in 10^12 operations a second; None = what is known of it.

    Attributes:
        model: The model; while it is sharded, this process's share of a copy of it. After the fit it is whole again.

    Raises:
        ValueError: The stage names a part that the model does not have.
    """

    def __init__(
        self,
        model: nn.Module,
        stage: Stage,
        *,
        seed: int = 0,
        verbose: bool = True,
        compiled: bool = False,
        peak_tflops: float | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.stage = stage
        self.seed = seed
        self.verbose = verbose
        self.parts = parts_of(model, stage)
        self.openness: Openness | None = stage.openness
        self.attended: Attended | None = None
        self._measured_at: Openness | None = None
        self.loss = float("nan")
        self.compiled = compiled
        self.peak_tflops = peak_tflops
        self._meter: Meter | None = None
        self._rates: dict[str, float] = {}
        self._work: Work | None = None
        self._last = (0.0, 0.0, 0.0)
        self._sums: Float[Tensor, "6"] | None = None
        self._whole: list[nn.Module] = []
        self._reached: Reached | None = None
        freeze(self.parts)

    @property
    def sharded(self) -> bool:
        """Whether this process holds a share of the model alone."""
        return bool(self._whole)

    def configure_model(self) -> None:
        """Shards the model where the strategy asks for it, compiles its layers where that is wanted."""
        mesh = self.device_mesh
        if mesh is not None and not self.sharded:
            self._whole = [self.model]
            self.model = shard(self.model, mesh["data_parallel"], self.stage.precision)
            if hasattr(self.model, "always_encodes"):
                self.model.always_encodes = True  # type: ignore[assignment]
            self.parts = parts_of(self.model, self.stage)
        if self.compiled:
            for layer in layers_of(self.model):
                layer.compile()
            self.compiled = False

    def teardown(self, stage: str) -> None:
        """Puts a sharded model together again."""
        if self._reached is not None:
            self._reached.stop()
            self._reached = None
        if self.sharded:
            gather(self.model, self._whole[0])
            self.model = self._whole.pop()
            self.parts = parts_of(self.model, self.stage)

    def configure_callbacks(self) -> list[Callback]:
        """What drives the openness, and the random generators."""
        return [OpennessCallback(self.stage, self.model), Generators(self.seed)]

    def configure_optimizers(self) -> Optimizer:
        """What the stage names, with the groups of `optimizer_groups`."""
        # Under mixed precision Lightning refuses to clip the gradients of a fused optimizer.
        fused = not self.stage.precision.endswith("-mixed") and self.device.type in ("cpu", "cuda")
        optimizer = optimizer_of(self.parts, self.stage, fused=fused and not self.sharded)
        if self.sharded:
            begin_states(optimizer)
        return optimizer

    def on_fit_start(self) -> None:
        """Switches gradient checkpointing, prints the table."""
        super().train()
        if self.trainer.world_size > 1 and not self.sharded:
            self._reached = Reached(self._trained)
        checkpoint_activations(self.model, self.stage.gradient_checkpointing)
        if self.verbose:
            self._print_table()

    @rank_zero_only
    def _print_table(self) -> None:
        Console().print(table(self.parts, self.stage))

    def on_train_start(self) -> None:
        """Puts frozen parts into eval mode (Lightning expects all in training mode until here)."""
        self.train()
        self._work = work_of(self.model, self.parts, cached=self.stage.feature_cache is not None)
        peak = peak_of(self.device) if self.peak_tflops is None else self.peak_tflops
        self._meter = Meter(None if peak is None else peak * self.trainer.world_size)

    def train(self, mode: bool = True) -> CambrianModule:
        """Training mode for trained parts; frozen ones stay in eval mode."""
        super().train(mode)
        for part in self.parts:
            for module in part.modules:
                module.train(mode and part.rate is not None)
        if mode and self.stage.gradient_checkpointing:
            _keep_checkpointing(self.model)
        return self

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Float[Tensor, ""]:
        """The loss of a batch as a sum over its supervised tokens, divided by the stage's batch size.

        `on_before_optimizer_step` then scales the gradients to a mean over the tokens of the whole step, whose
        number is known only there.

        Raises:
            ValueError: The batches of a step do not add up to the stage's batch size, or a batch has no image where
                another's model is sharded.
        """
        self._check_batch_size(batch)
        self._check_units(batch)
        with measure(self.model, batch, self._to_measure) as attended:
            loss = self._sum(batch)
        if (found := attended()) is not None:
            self.attended, self._measured_at = found, self.openness
        total = loss.detach().double() * self.stage.batch_size
        sums = torch.stack([total, _count(batch["labels"]), _samples(batch), *self._spent(batch)])
        self._sums = sums if self._sums is None else self._sums + sums
        return loss if self._reached is None else anchored(loss, self._trained)

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Logs the mean loss over supervised tokens as `validation_loss`, at the openness of the latest step."""
        count = _count(batch["labels"])
        loss = self._sum(batch) * self.stage.batch_size / count
        self.log("validation_loss", loss, batch_size=int(count), sync_dist=True)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Turns the gradients of sums into gradients of the mean over all supervised tokens of the step.

        Raises:
            ValueError: The step has no supervised token, or its packed batches other samples than the stage says.
        """
        assert self._sums is not None
        reached = [] if self._reached is None else self._reached.take()
        told = torch.cat([self._sums, self._sums.new_tensor(reached)])
        summed = self.trainer.strategy.reduce(told, reduce_op="sum")
        total, tokens, samples, units, real, operations, *by = summed.tolist()
        self._sums = None
        if samples != self.stage.batch_size:
            raise ValueError(
                f"batch_size must be what the stage says, {self.stage.batch_size} samples a step, got {samples:.0f} in "
                f"the packed batches of step {self.global_step}; give the data stage.local_batch_size(num_devices) and "
                "batches_per_step=stage.accumulate * num_devices"
            )
        if tokens == 0:
            raise ValueError(
                f"labels must supervise at least one token of a step, got none in step {self.global_step}; "
                "check that the conversations have answers and are not cut before them"
            )
        self._drop_unreached(units, by)
        # Lightning averages over accumulated batches and ranks; both averages are undone here.
        averaged = self.trainer.accumulate_grad_batches * self.trainer.world_size
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        torch._foreach_mul_(grads, self.stage.batch_size * averaged / tokens)
        self.loss = total / tokens
        self._last = real, samples, operations

    def _drop_unreached(self, units: float, by: list[float]) -> None:
        """What no process has reached is left alone, as in a single process: zero gradients would move it still."""
        idle: list[nn.Parameter] = []
        if self._reached is not None:
            idle = [p for p, count in zip(self._trained, by, strict=True) if count == 0]
        elif self.sharded and units == 0:
            idle = [p for part in self.parts if part.name in _ENCODERS for p in _trained_of(part)]
        for parameter in idle:
            parameter.grad = None

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips to the stage's norm, or as the Trainer was told."""
        if gradient_clip_val is None and self.stage.clip is not None:
            gradient_clip_val, gradient_clip_algorithm = float(self.stage.clip), "norm"
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Sets the learning rates of this step, then steps."""
        factor = self.stage.factor(self.global_step)
        for group in self.optimizers(use_pl_optimizer=False).param_groups:
            group["lr"] = self.stage.rates[group["part"]] * factor
        super().optimizer_step(*args, **kwargs)

    def on_train_batch_end(self, outputs: Any, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Logs the step and ends the stage after its last."""
        if self._sums is not None:
            return
        assert self._meter is not None
        self._rates = self._meter.step(*self._last)
        self.log_dict(self.figures(), prog_bar=False, rank_zero_only=True)
        if self.global_step >= self.stage.steps:
            self.trainer.should_stop = True

    def figures(self) -> dict[str, float]:
        """What the latest step is described by: loss, openness, K, attended share, throughput, learning rates."""
        figures = {"loss": self.loss}
        if self.openness is not None:
            figures["openness"] = mean_of(self.openness)
        if self.attended is not None:
            figures["k"] = self.attended.regions
            figures["attended_share"] = self.attended.share
        factor = self.stage.factor(max(0, self.global_step - 1))
        return (
            figures | self._rates | {f"lr_{part}": rate * factor for part, rate in self.stage.rates.items()}
        )

    @property
    def _trained(self) -> list[nn.Parameter]:
        return [parameter for part in self.parts for parameter in _trained_of(part)]

    @property
    def _to_measure(self) -> bool:
        """At logged steps, and where the routing has come to rest, so that no older K is shown from then on."""
        logged = self.global_step == 0 or (self.global_step + 1) % self.trainer.log_every_n_steps == 0
        return logged or (self.openness in (0.0, 1.0) and self.openness != self._measured_at)

    def _spent(self, batch: Mapping[str, Tensor]) -> list[Tensor]:
        """Units, real tokens, and floating-point operations of a batch."""
        ids = batch["input_ids"]
        valid = batch.get("attention_mask", torch.ones_like(ids)).bool()
        units, tokens = _units(batch), valid.sum().double()
        if self._work is None:
            return [units, tokens, torch.zeros_like(tokens)]
        known = ids.new_tensor(placeholders(self.model.config))
        documents = batch.get("document_ids", torch.zeros_like(ids))
        share = 1.0 if self.attended is None else min(1.0, self.attended.share)
        entries = entries_of(torch.isin(ids, known), valid, documents, share)
        work = self._work
        return [units, tokens, work.token * tokens + work.entry * entries + work.unit * units]

    def _sum(self, batch: Mapping[str, Tensor]) -> Float[Tensor, ""]:
        """Sum of the loss over the batch's supervised tokens, divided by the stage's batch size."""
        return self.model(**batch, num_items_in_batch=self.stage.batch_size, gaze_openness=self.openness).loss

    def _check_units(self, batch: Mapping[str, Tensor]) -> None:
        if not self.sharded or hasattr(self.model, "always_encodes"):
            return
        if not any(name.startswith("pixel_values") for name in batch):
            raise ValueError(
                f"pixel_values must be in every batch of every device where a {type(self._whole[0]).__name__} is "
                "sharded: the others wait at its tower; mix images into each batch, or set strategy=ddp"
            )

    def _check_batch_size(self, batch: Mapping[str, Tensor]) -> None:
        if "document_ids" in batch:  # its rows are no samples; the step's are counted when it is complete
            return
        local = self.stage.batch_size // (self.trainer.accumulate_grad_batches * self.trainer.world_size)
        got = batch["input_ids"].shape[0]
        if got != local:
            raise ValueError(
                f"batch_size must be what the stage says, {self.stage.batch_size} samples a step or {local} in each "
                f"batch of each device, got {got}; give the data stage.local_batch_size(num_devices) and the "
                "Trainer **stage.trainer_arguments()"
            )


def _keep_checkpointing(model: nn.Module) -> None:
    """Frozen layers too: gradients go through them to what is trained before. Nothing inside them changes its mode."""
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.training = True


def _trained_of(part: Part) -> tuple[nn.Parameter, ...]:
    return (*part.decayed, *part.plain)


def _units(batch: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """Images and frames of a batch."""
    clips = batch.get("clip_lengths")
    if clips is None:
        return batch["input_ids"].new_tensor(float("pixel_values" in batch), dtype=torch.double)
    return clips.sum().double()


def _count(labels: Tensor) -> Float[Tensor, ""]:
    """Number of supervised tokens; the first token of a sample is never predicted."""
    return (labels[:, 1:] != IGNORED).sum().double()


def _samples(batch: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """Number of samples, packed ones one by one."""
    documents = batch.get("document_ids")
    if documents is None:
        return torch.tensor(len(batch["input_ids"]), device=batch["input_ids"].device).double()
    return (documents.amax(dim=1) + 1).sum().double()
