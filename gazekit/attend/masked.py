"""Dense attention under a mask: the backend for training and prefill."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from gazekit.attend._bias import bias_of
from gazekit.attend._dtype import followed, one_dtype
from gazekit.attend._sdpa import fold, fold_bias, run_backward, run_forward, unfold
from gazekit.attend._whole import attend_whole
from gazekit.attend._workspace import Workspace
from gazekit.contracts import Entries, Plan, Tokens

_FEW = 4


@dataclass(frozen=True, kw_only=True)
class MaskedBackend:
    """torch's scaled dot-product attention under a mask, a chunk of queries at a time.

    It does dense attention's work, so it never loses to it by much, and can do every plan. Query heads that
    share keys are laid along the query axis, so that keys are not repeated. No mask outlives its chunk: the
    backward builds it again.

    Args:
        chunk_bytes: Bytes that the mask of a chunk may take; one query at a time at least.

    Raises:
        ValueError: `chunk_bytes` is below 1.
    """

    chunk_bytes: int = 64 * 2**20
    workspace: Workspace = field(default_factory=Workspace, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.chunk_bytes < 1:
            raise ValueError(
                f"chunk_bytes must be at least 1, got {self.chunk_bytes}; leave it out for 64 MiB"
            )

    def attend(
        self, query: Float[Tensor, "batch head query dim"], entries: Entries, plan: Plan
    ) -> Float[Tensor, "batch head query value_dim"]:
        """Attention; a query that sees nothing gives zeros, and zero gradients."""
        query, key, value = one_dtype(query, entries.key, entries.value)
        call = _Call(plan, entries.tokens, query.shape[1], self.chunk_bytes)
        if followed(query, key, value):
            return _Masked.apply(query, key, value, call)
        if 0 < query.shape[2] <= _FEW and entries.tokens.length and key.device.type == "cpu":
            return attend_whole(query, key, value, entries.tokens, plan, self.workspace)
        return _forward(query, key, value, call)[0]

    def refuses(self, entries: Entries, plan: Plan) -> str | None:
        """Nothing is refused."""
        return None


@dataclass(frozen=True)
class _Call:
    """What is needed to build the masks, now and in the backward."""

    plan: Plan
    tokens: Tokens
    num_heads: int
    chunk_bytes: int

    def chunks(self, dtype: torch.dtype) -> list[tuple[int, int]]:
        """Ranges of queries whose masks keep to the bytes."""
        queries = self.plan.query.length if self.tokens.length else 0
        heads = self.num_heads if self.plan.routes else self.tokens.kind.shape[1]
        per_query = self.plan.query.kind.shape[0] * heads * self.tokens.length * dtype.itemsize
        step = max(1, self.chunk_bytes // max(1, per_query))
        return [(start, min(start + step, queries)) for start in range(0, queries, step)]

    def bias(self, start: int, stop: int, num_kv_heads: int, dtype: torch.dtype) -> Tensor:
        """The folded mask of the queries `[start, stop)`."""
        bias = bias_of(self.plan.narrow(start, stop), self.tokens, self.num_heads, dtype)
        return fold_bias(bias, self.num_heads, num_kv_heads)


def _forward(query: Tensor, key: Tensor, value: Tensor, call: _Call) -> tuple[Tensor, list[Tensor | None]]:
    """The attention of all chunks, and what the backward of each needs."""
    out = value.new_zeros(*query.shape[:3], value.shape[3])
    kept: list[Tensor | None] = []
    for start, stop in call.chunks(query.dtype):
        some = fold(query[:, :, start:stop], key.shape[1])
        bias = call.bias(start, stop, key.shape[1], query.dtype)
        part, lse = run_forward(some, key, value, bias, call.plan.scale)
        kept.append(lse)
        part = unfold(part, query.shape[1])
        if stop - start == query.shape[2]:
            return part, kept
        out[:, :, start:stop] = part
    return out, kept


class _Masked(torch.autograd.Function):
    """Attention that keeps no mask between forward and backward."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, call: _Call) -> Tensor:
        out, kept = _forward(query, key, value, call)
        ctx.call = call
        ctx.save_for_backward(query, key, value, out, *kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, out, *kept = ctx.saved_tensors
        call: _Call = ctx.call
        to_query, to_key, to_value = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for (start, stop), lse in zip(call.chunks(query.dtype), kept, strict=True):
            some, some_out, some_grad = (fold(x[:, :, start:stop], key.shape[1]) for x in (query, out, grad))
            bias = call.bias(start, stop, key.shape[1], query.dtype)
            part, *rest = run_backward(some_grad, some, key, value, bias, call.plan.scale, some_out, lse)
            to_query[:, :, start:stop] = unfold(part, query.shape[1])
            to_key += rest[0]
            to_value += rest[1]
        return to_query, to_key, to_value, None
