"""The optimizer of a stage: AdamW, or Muon for the decoder's matrices with AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from gazekit.training.groups import Part, optimizer_groups
from gazekit.training.stage import Stage

_MUON_PART = "language"


class Together(Optimizer):
    """Several optimizers that step as one; their groups are listed one after another.

    Args:
        optimizers: Over disjoint parameters.
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self.optimizers = list(optimizers)
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        super().__init__([{"params": group["params"]} for group in groups], {})
        self.param_groups = groups

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Runs the closure once, then steps each."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of all, in order."""
        return {"together": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        for optimizer, state in zip(self.optimizers, state_dict["together"], strict=True):
            optimizer.load_state_dict(state)
        self.param_groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]


def optimizer_of(parts: Sequence[Part], stage: Stage, *, fused: bool) -> Optimizer:
    """The optimizer that a stage names.

    With "muon" the matrices of the decoder's layers are orthogonalised momentum's (Jordan et al., 2024; rates scaled
    to match AdamW's, Liu et al., 2025), everything else AdamW's. The learning rates mean the same for both.
    """
    groups = optimizer_groups(list(parts), stage)
    if stage.optimizer == "adamw":
        return AdamW(groups, betas=stage.betas, fused=fused)
    matrices = _decoder_matrices(parts)
    chosen, rest = [], []
    for group in groups:
        inside = [p for p in group["params"] if p in matrices]
        outside = [p for p in group["params"] if p not in matrices]
        chosen += [{**group, "params": inside}] if inside else []
        rest += [{**group, "params": outside}] if outside else []
    optimizers: list[Optimizer] = []
    if chosen:
        optimizers.append(Muon(chosen, adjust_lr_fn="match_rms_adamw"))
    if rest:
        optimizers.append(AdamW(rest, betas=stage.betas, fused=fused))
    return Together(optimizers)


@torch.no_grad()
def begin_states(optimizer: Optimizer) -> None:
    """Makes AdamW's states now rather than at a parameter's first gradient: shares are saved and loaded by name.

    Raises:
        ValueError: It is not AdamW.
    """
    if not isinstance(optimizer, AdamW):
        raise ValueError(
            "optimizer must be adamw where the model is sharded: muon needs whole matrices; set optimizer=adamw, or "
            "strategy=ddp"
        )
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


def _decoder_matrices(parts: Sequence[Part]) -> set[nn.Parameter]:
    """The 2-D weights inside the decoder's layers; embeddings and the output layer are not among them."""
    return {
        parameter
        for part in parts
        if part.name == _MUON_PART
        for module in part.modules
        for layer in getattr(module, "layers", [])
        for parameter in layer.parameters()
        if parameter.ndim == 2
    }
