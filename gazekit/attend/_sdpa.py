"""torch's scaled dot-product attention with a bias, and its backward, without a graph in between."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_forward_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

Query = Float[Tensor, "batch kv_head folded dim"]
Key = Float[Tensor, "batch kv_head entry dim"]
Value = Float[Tensor, "batch kv_head entry value_dim"]
Bias = Float[Tensor, "batch #kv_head folded entry"]
Out = Float[Tensor, "batch kv_head folded value_dim"]


def fold(query: Float[Tensor, "batch head query dim"], num_kv_heads: int) -> Query:
    """The queries of a group one after another, so that keys need not be repeated for its heads."""
    return query.reshape(query.shape[0], num_kv_heads, -1, query.shape[3])


def unfold(out: Out, num_heads: int) -> Float[Tensor, "batch head query value_dim"]:
    """The reverse of `fold`."""
    return out.reshape(out.shape[0], num_heads, -1, out.shape[3])


def fold_bias(bias: Float[Tensor, "batch #head query entry"], num_heads: int, num_kv_heads: int) -> Bias:
    """The bias that goes with folded queries."""
    if bias.shape[1] == num_heads:
        return fold(bias, num_kv_heads)
    group = num_heads // num_kv_heads
    return bias[:, :, None].expand(-1, -1, group, -1, -1).flatten(2, 3)


def attend_folded(query: Query, key: Key, value: Value, bias: Bias, scale: float) -> Out:
    """Attention that autograd can follow; a query that sees nothing gives zeros."""
    blind = (bias == -math.inf).all(dim=-1, keepdim=True)
    out = scaled_dot_product_attention(query, key, value, bias.masked_fill(blind, 0.0), scale=scale)
    return out.masked_fill(blind, 0.0)


def run_forward(query: Query, key: Key, value: Value, bias: Bias, scale: float) -> tuple[Out, Tensor | None]:
    """Attention outside autograd, and the log-sum-exp for `run_backward` where the kernel tells it."""
    if _is_flash(query, value):
        out, lse = _forward_cpu(query, key, value, attn_mask=bias, scale=scale)
        return out, lse
    return attend_folded(query, key, value, bias, scale), None


def run_backward(
    grad: Out, query: Query, key: Key, value: Value, bias: Bias, scale: float, out: Out, lse: Tensor | None
) -> tuple[Query, Key, Value]:
    """Gradients of query, key and value; a query that sees nothing gives and gets zeros."""
    if lse is not None:
        arguments = (grad, query, key, value, out, lse, 0.0, False)
        return _backward_cpu(*arguments, attn_mask=bias, scale=scale)
    with torch.enable_grad():
        query, key, value = (tensor.detach().requires_grad_() for tensor in (query, key, value))
        out = attend_folded(query, key, value, bias, scale)
        to_query, to_key, to_value = torch.autograd.grad(out, (query, key, value), grad)
        return to_query, to_key, to_value


def _is_flash(query: Tensor, value: Tensor) -> bool:
    """The CPU kernel gives zeros to queries that see nothing, and runs backward from its log-sum-exp."""
    return query.device.type == "cpu" and query.shape[-1] == value.shape[-1]
