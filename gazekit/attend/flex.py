"""FlexAttention: a mask that is asked for, never built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention
from torch.utils._triton import has_triton

from gazekit.attend._blocks import Structure, has_rule, rule_of, structure_of
from gazekit.attend._dtype import one_dtype, refuses_gradients
from gazekit.contracts import Entries, Plan

_NARROWEST = 16
# Past so many kernels torch would fall back to the unfused form, which keeps all logits; with fullgraph it says so.
_SHAPES = 64


@dataclass(frozen=True, kw_only=True)
class FlexBackend:
    """torch's FlexAttention: the kernel asks of each pair whether it is visible, by the key's region.

    For training and prefill on CUDA: forward and backward at about the speed of dense attention, and no mask of
    queries times keys in memory, only a table of queries times regions. On a CPU it runs forward only. It is compiled
    when it is first used, which takes up to a minute; how many regions are chosen, and which, compiles nothing anew.

    Args:
        compiled: False = by torch's unfused form, which keeps all logits; for tests on small inputs.
    """

    compiled: bool = True

    def attend(
        self, query: Float[Tensor, "batch head query dim"], entries: Entries, plan: Plan
    ) -> Float[Tensor, "batch head query value_dim"]:
        """Attention; a query that sees nothing gives zeros, and zero gradients."""
        query, key, value = one_dtype(query, entries.key, entries.value)
        if query.shape[2] == 0 or key.shape[2] == 0:
            return value.new_zeros(*query.shape[:3], value.shape[3]) + 0.0 * query.sum()
        structure = _structure(plan, entries, query.shape[1])
        mask = structure.mask(rule_of(structure, plan, entries, query.shape[1]))
        grouped = query.shape[1] != key.shape[1]
        if not self.compiled or torch.compiler.is_compiling():
            return flex_attention(query, key, value, block_mask=mask, scale=plan.scale, enable_gqa=grouped)
        attention = _compiled(query.device.type)
        with torch._dynamo.config.patch(recompile_limit=_SHAPES):
            return attention(query, key, value, block_mask=mask, scale=plan.scale, enable_gqa=grouped)

    def refuses(self, entries: Entries, plan: Plan) -> str | None:
        """Rules on tokens, narrow heads, double precision; on a CPU gradients, and one query alone."""
        key, value = entries.key, entries.value
        device = key.device.type
        if device not in ("cpu", "cuda"):
            return f"it runs on CUDA and, forward only, on a CPU, and the keys lie on {device}"
        if has_rule(plan.keeps, plan.query, entries.tokens):
            return "a rule keeps entries in view that the selection does not name"
        if device == "cpu" and (reason := refuses_gradients(entries, plan)) is not None:
            return f"on a CPU {reason}"
        if device == "cpu" and self.compiled and plan.query.length == 1:
            return "on a CPU torch cannot compile it for one query"
        if device == "cuda" and not has_triton():
            return "it needs Triton, which this torch does not have"
        if device == "cuda" and min(key.shape[3], value.shape[3]) < _NARROWEST:
            return f"on CUDA it takes heads of {_NARROWEST} or wider, got {min(key.shape[3], value.shape[3])}"
        if device == "cuda" and key.dtype == torch.float64:
            return "on CUDA it computes in fp32 or lower, not in double precision"
        return None


def compiles_for_little(entries: Entries, plan: Plan) -> str | None:
    """Why `auto` passes it by, unless it is for training or prefill on CUDA."""
    if entries.key.device.type != "cuda":
        return f"compiling it does not pay on {entries.key.device.type}"
    return "compiling it does not pay for one query" if plan.query.length <= 1 else None


def _structure(plan: Plan, entries: Entries, num_heads: int) -> Structure:
    """The structure of the plan, made once a forward where the same tokens come again."""
    known: dict[str, Any] = plan.memo
    found, use = known.get("flex"), (plan.confined, plan.regions.count, num_heads)
    if found is None or found[0] is not plan.query or found[1] is not entries.tokens or found[2] != use:
        found = plan.query, entries.tokens, use, structure_of(plan, entries.tokens, num_heads)
        known["flex"] = found
    return found[3]


@cache
def _compiled(device: str) -> Callable[..., Tensor]:
    """FlexAttention as a kernel."""
    # On a CPU each length for itself: torch 2.13 writes C++ that does not compile where lengths are left open and
    # the rule reads tensors by the key's place.
    return torch.compile(flex_attention, fullgraph=True, dynamic=False if device == "cpu" else None)
