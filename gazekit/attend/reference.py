"""The definition of attention, which every other backend equals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from gazekit.attend._dtype import one_dtype
from gazekit.contracts import Entries, Plan, visible


@dataclass(frozen=True, kw_only=True)
class ReferenceBackend:
    """Explicit attention in fp32 or wider: softmax of `scale * query . key` over the visible entries.

    For checking the others and for gradients by finite differences. It keeps logits and weights of every
    query, head and entry, so it is for small inputs only.
    """

    def attend(
        self, query: Float[Tensor, "batch head query dim"], entries: Entries, plan: Plan
    ) -> Float[Tensor, "batch head query value_dim"]:
        """Attention; a query that sees nothing gives zeros, and zero gradients."""
        query, key, value = one_dtype(query, entries.key, entries.value)
        wide = torch.promote_types(query.dtype, torch.float32)
        seen = visible(plan, entries.tokens, query.shape[1])
        grouped = rearrange(query.to(wide), "b (kv_head g) q d -> b kv_head g q d", kv_head=key.shape[1])
        with torch.autocast(query.device.type, enabled=False):
            logits = plan.scale * torch.einsum("bhgqd,bhkd->bhgqk", grouped, key.to(wide))
            logits = logits.flatten(1, 2).masked_fill(~seen, -math.inf)
            blind = ~seen.any(dim=-1, keepdim=True)
            weights = logits.masked_fill(blind, 0.0).softmax(dim=-1).masked_fill(~seen, 0.0)
            weights = rearrange(weights, "b (kv_head g) q k -> b kv_head g q k", kv_head=key.shape[1])
            out = torch.einsum("bhgqk,bhkd->bhgqd", weights, value.to(wide))
        return out.flatten(1, 2).to(value.dtype)

    def refuses(self, entries: Entries, plan: Plan) -> str | None:
        """Nothing is refused."""
        return None
