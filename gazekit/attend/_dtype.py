"""What query, key and value have in common: one dtype, and whether autograd follows them."""

from __future__ import annotations

import torch
from torch import Tensor

from gazekit.contracts import Entries, Plan


def one_dtype(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three in autocast's dtype where it is on (as stock attention does), else in their common one.

    Under autocast, norms and RoPE leave queries and keys in fp32 beside a value of lower precision.
    """
    device = query.device.type
    if torch.is_autocast_enabled(device) and query.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
    else:
        dtype = torch.promote_types(torch.promote_types(query.dtype, key.dtype), value.dtype)
    return query.to(dtype), key.to(dtype), value.to(dtype)


def followed(*tensors: Tensor) -> bool:
    """Whether autograd follows what is made of the tensors."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def refuses_gradients(entries: Entries, plan: Plan) -> str | None:
    """Why a backend that has no backward cannot do a plan; None = it need not have one."""
    if torch.is_grad_enabled() and (plan.tracked or entries.key.requires_grad or entries.value.requires_grad):
        return "it has no backward, and gradients are asked for"
    return None


def check_untracked(*tensors: Tensor) -> None:
    """Has a backend without a backward say so, rather than give an answer that autograd takes for a constant.

    Raises:
        ValueError: Autograd follows one of the tensors, which `refuses_gradients` was not told of.
    """
    if followed(*tensors):
        raise ValueError(
            "query must not require a gradient where the plan does not say so, got one that does, and this backend has "
            "no backward; build the plan with tracked=True, or call it under torch.no_grad()"
        )
