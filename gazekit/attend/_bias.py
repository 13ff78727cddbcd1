"""What is visible, as a term that is added to the logits."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gazekit.contracts import Plan, Tokens, by_owner, in_view, reachable, to_heads, visible


def bias_of(
    plan: Plan, key: Tokens, num_heads: int, dtype: torch.dtype
) -> Float[Tensor, "batch #head query key"]:
    """0 where `visible`, else minus infinity. The head axis is 1 where all heads see the same.

    Adding two terms, one shared by all heads, is cheaper than to build the mask and convert it.
    """
    if not plan.routes or (plan.keeps is not None and plan.keeps(plan.query, key) is not None):
        return _term(visible(plan, key, num_heads), dtype)
    base = to_heads(_term(reachable(plan.query, key, plan.confined), dtype), num_heads)
    return by_owner(_term(in_view(plan), dtype), key, num_heads).add_(base)


def _term(seen: Bool[Tensor, "*shape"], dtype: torch.dtype) -> Float[Tensor, "*shape"]:
    """1 - 1 / seen: on a CPU three times as fast as to fill by a mask."""
    return seen.to(dtype).reciprocal_().neg_().add_(1.0)
