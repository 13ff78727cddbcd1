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

    It does dense attention's work under a mask, and can do every plan. Query heads that share keys are laid along the
    query axis, so that keys are not repeated. A chunk reads no key behind the last that any of its queries reaches. No
    mask outlives its chunk: the backward builds it again.

    Args:
        chunk_bytes: Bytes that the mask of a chunk may take; one query at a time at least.

    Raises:
        ValueError: `chunk_bytes` is below 1.
    """

    chunk_bytes: int = 32 * 2**20
    workspace: Workspace = field(default_factory=Workspace, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.chunk_bytes < 1:
            raise ValueError(
                f"chunk_bytes must be at least 1, got {self.chunk_bytes}; leave it out for 32 MiB"
            )

    def attend(
        self, query: Float[Tensor, "batch head query dim"], entries: Entries, plan: Plan
    ) -> Float[Tensor, "batch head query value_dim"]:
        """Attention; a query that sees nothing gives zeros, and zero gradients."""
        query, key, value = one_dtype(query, entries.key, entries.value)
        chunks = _chunks(plan, entries.tokens, query.shape[1], key.shape[1], query.dtype, self.chunk_bytes)
        call = _Call(plan, entries.tokens, query.shape[1], chunks)
        if followed(query, key, value):
            return _Masked.apply(query, key, value, call)
        if 0 < query.shape[2] <= _FEW and entries.tokens.length and key.device.type == "cpu":
            return attend_whole(query, key, value, entries.tokens, plan, self.workspace)
        return _forward(query, key, value, call)[0]

    def refuses(self, entries: Entries, plan: Plan) -> str | None:
        """Nothing is refused."""
        return None


@dataclass(frozen=True)
class _Chunk:
    """The queries `[start, stop)`, and how many of the first entries hold all that they reach."""

    start: int
    stop: int
    keys: int


@dataclass(frozen=True)
class _Call:
    """What is needed to build the masks, now and in the backward."""

    plan: Plan
    tokens: Tokens
    num_heads: int
    chunks: list[_Chunk]

    def bias(self, chunk: _Chunk, num_kv_heads: int, dtype: torch.dtype) -> Tensor:
        """The folded mask of a chunk."""
        plan, tokens = self.plan.narrow(chunk.start, chunk.stop), self.tokens.narrow(0, chunk.keys)
        return fold_bias(bias_of(plan, tokens, self.num_heads, dtype), self.num_heads, num_kv_heads)


def _chunks(
    plan: Plan, tokens: Tokens, num_heads: int, num_kv_heads: int, dtype: torch.dtype, most: int
) -> list[_Chunk]:
    """Chunks whose masks keep to the bytes, worked out once a forward where the same tokens come again."""
    known = plan.memo.get("masked")
    use = plan.routes, num_heads, num_kv_heads, dtype, most
    if known is not None and known[0] is plan.query and known[1] is tokens and known[2] == use:
        return known[3]
    queries = plan.query.length if tokens.length else 0
    heads = num_heads if plan.routes else num_heads // num_kv_heads * tokens.kind.shape[1]
    per_query = plan.query.kind.shape[0] * heads * tokens.length * dtype.itemsize
    step = max(1, most // max(1, per_query))
    ranges = [(start, min(start + step, queries)) for start in range(0, queries, step)]
    # A compiler does not follow numbers that come out of tensors; all keys are always enough.
    whole = torch.compiler.is_compiling() or len(ranges) < 2
    reached = [tokens.length] * len(ranges) if whole else _reached(plan.query, tokens, ranges)
    chunks = [_Chunk(*between, keys) for between, keys in zip(ranges, reached, strict=True)]
    if not torch.compiler.is_compiling():
        plan.memo["masked"] = plan.query, tokens, use, chunks
    return chunks


def _reached(query: Tokens, key: Tokens, ranges: list[tuple[int, int]]) -> list[int]:
    """How many of the first keys hold all that the queries of each range reach; 1 at least."""
    document = key.document.masked_fill(~key.valid, -1)
    documents = max(int(document.max()), int(query.document.max())) + 2
    place = torch.arange(1, key.length + 1, device=document.device)
    found = []
    for start, stop in ranges:
        some = query.narrow(start, stop)
        order = some.order.masked_fill(~some.valid, -1)
        highest = torch.full((*order.shape[:2], documents), -1, device=order.device)
        highest = highest.scatter_reduce(2, some.document + 1, order, reduce="amax")
        highest[..., 0] = -1
        heads = max(highest.shape[1], document.shape[1])
        bound = highest.expand(-1, heads, -1).gather(2, document.expand(-1, heads, -1) + 1)
        found.append(((key.order <= bound) & (document >= 0)).long().mul(place).amax())
    return torch.stack(found).clamp_min(1).tolist()


def _forward(query: Tensor, key: Tensor, value: Tensor, call: _Call) -> tuple[Tensor, list[Tensor | None]]:
    """The attention of all chunks, and what the backward of each needs."""
    out = value.new_zeros(*query.shape[:3], value.shape[3]) if len(call.chunks) != 1 else None
    kept: list[Tensor | None] = []
    for chunk in call.chunks:
        some = fold(query[:, :, chunk.start : chunk.stop], key.shape[1])
        bias = call.bias(chunk, key.shape[1], query.dtype)
        keys, values = key[:, :, : chunk.keys], value[:, :, : chunk.keys]
        part, lse = run_forward(some, keys, values, bias, call.plan.scale)
        kept.append(lse)
        part = unfold(part, query.shape[1])
        if out is None:
            return part, kept
        out[:, :, chunk.start : chunk.stop] = part
    assert out is not None, "one chunk has returned"
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
        for chunk, lse in zip(call.chunks, kept, strict=True):
            start, stop = chunk.start, chunk.stop
            some, some_out, some_grad = (fold(x[:, :, start:stop], key.shape[1]) for x in (query, out, grad))
            bias = call.bias(chunk, key.shape[1], query.dtype)
            keys, values = key[:, :, : chunk.keys], value[:, :, : chunk.keys]
            part, *rest = run_backward(some_grad, some, keys, values, bias, call.plan.scale, some_out, lse)
            to_query[:, :, start:stop] = unfold(part, query.shape[1])
            to_key[:, :, : chunk.keys] += rest[0]
            to_value[:, :, : chunk.keys] += rest[1]
        return to_query, to_key, to_value, None
