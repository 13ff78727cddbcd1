"""A model shared out among processes by FSDP2, and put together again."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from gazekit.gaze import HOLDER
from gazekit.training.stage import Precision


def shard(model: nn.Module, mesh: DeviceMesh, precision: Precision) -> nn.Module:
    """A copy of a model of which each process holds its share, layer by layer.

    The model itself stays whole: its weights are what `gather` fills in at the end. Under "bf16-mixed" the shares are
    fp32, layers compute with bf16 copies of them, and gradients are added up in fp32.

    Args:
        model: Whole, with the same weights in every process.
        mesh: The processes.
        precision: As Lightning names it.

    Raises:
        ValueError: The precision is not one that shares can have.
    """
    policies = {
        "32-true": MixedPrecisionPolicy(),
        "bf16-true": MixedPrecisionPolicy(),
        "bf16-mixed": MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32),
    }
    if precision not in policies:
        raise ValueError(
            f"precision must be one of {', '.join(policies)} under fsdp2, got {precision!r}; bf16-mixed keeps fp32 "
            "master weights"
        )
    known: dict[int, Any] = {id(held): held for held in (*model.parameters(), *model.buffers())}
    shared = copy.deepcopy(model, known)
    for name, buffer in list(shared.named_buffers()):
        home, _, last = name.rpartition(".")
        shared.get_submodule(home)._buffers[last] = buffer.clone()
    # Layers get what those before them computed; casting would also take apart, and copy, what gaze hands on to them.
    inside = replace(policies[precision], cast_forward_inputs=False)
    for layer in layers_of(shared):
        fully_shard(layer, mesh=mesh, mp_policy=inside)
    # Adapters are found again outside the layers that they lie in.
    placed: set[nn.Parameter] = {
        parameter for parameter in shared.parameters() if isinstance(parameter, DTensor)
    }
    fully_shard(shared, mesh=mesh, mp_policy=policies[precision], ignored_params=placed)
    for module in shared.modules():
        if HOLDER in module._modules:
            module.register_forward_hook(_take_part)
    return shared


def layers_of(model: nn.Module) -> list[nn.Module]:
    """What is gathered and freed again at a time: the layers that transformers would not split either."""
    names = {name for module in model.modules() for name in getattr(module, "_no_split_modules", None) or ()}
    found: dict[nn.Module, None] = {}
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            found |= {layer: None for layer in module if type(layer).__name__ in names}
    return list(found)


@torch.no_grad()
def gather(shared: nn.Module, model: nn.Module) -> None:
    """Fills a whole model with the weights of its shared copy; every process takes part, and has them all after it.

    Args:
        shared: What `shard` made, trained since.
        model: What it was made of.
    """
    whole = dict(model.named_parameters())
    for name, parameter in shared.named_parameters():
        full = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        whole[name].copy_(full)
    own = dict(model.named_buffers())
    for name, buffer in shared.named_buffers():
        own[name].copy_(buffer)


def nothing_of(parameters: Any) -> Tensor | float:
    """Zero, with a gradient of zero for each parameter that is trained."""
    return sum(p.reshape(-1)[:0].sum() for p in parameters if p.requires_grad)


def _take_part(attention: nn.Module, arguments: Any, out: Any) -> Any:
    """Learned parts of gaze get a gradient where nothing routes, too: processes add up the same list of gradients."""
    added = nothing_of(attention._modules[HOLDER].parameters())
    return (out[0] + added, *out[1:]) if isinstance(out, tuple) else out + added
