"""One dtype for query, key and value."""

from __future__ import annotations

import torch
from torch import Tensor


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
