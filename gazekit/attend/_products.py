"""Attention of few queries as matrix products: keys by queries, and weights by values.

With a softmax in fp32 between them they are the fastest dense form of decoding on a CPU. The query heads that share a
KV head lie along one axis, "folded".
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gazekit.attend._workspace import Workspace

_MUCH = 1500
_LITTLE_MORE = 1.15


def key_products(
    key: Float[Tensor, "batch kv_head entry dim"],
    query: Float[Tensor, "batch kv_head folded dim"],
    workspace: Workspace | None,
    name: str = "products",
) -> Float[Tensor, "batch kv_head entry_and_more folded"]:
    """`key . query`; in the workspace by that name, if one is given, which autograd cannot follow.

    Behind the entries the products may go on with what lies in the buffer's room.

    The queries stand on the right: so a CPU in bf16 takes a fifth less time than with them on the left.
    """
    turned = query.transpose(2, 3)
    if workspace is None or key.device.type != "cpu":
        return key @ turned
    key = _with_room(key)
    out = workspace.take(name, (*key.shape[:3], query.shape[2]), key.dtype)
    return _each(key, turned, out)


def _with_room(key: Float[Tensor, "batch kv_head entry dim"]) -> Float[Tensor, "batch kv_head room dim"]:
    """The keys with those of the buffer behind each head's, where that makes them one piece and is little more.

    Whatever the room holds, the products of the entries do not depend on it.
    """
    batch, heads, length, dim = key.shape
    room = key.stride(1) // dim
    evenly = key.stride() == (heads * room * dim, room * dim, dim, 1)
    if not evenly or not length < room <= _LITTLE_MORE * length:
        return key
    there = key.untyped_storage().nbytes() // key.itemsize - key.storage_offset()
    return (
        key.as_strided((batch, heads, room, dim), key.stride())
        if batch * heads * room * dim <= there
        else key
    )


def value_products(
    weights: Float[Tensor, "batch kv_head folded entry"],
    value: Float[Tensor, "batch kv_head entry value_dim"],
    followed: bool,
) -> Float[Tensor, "batch kv_head folded value_dim"]:
    """`weights . value`; `followed` by autograd or not."""
    if followed or value.device.type != "cpu":
        return weights @ value
    return _each(weights, value, value.new_empty(*weights.shape[:3], value.shape[3]))


def _each(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """The products of all heads, one by one where much lies in a store's buffer with room behind each head.

    There a CPU's batched product leaves its fast kernel; for little, that is still less than to call it for each.
    """
    one_piece = left.is_contiguous() and (right.is_contiguous() or right.transpose(2, 3).is_contiguous())
    if one_piece or max(left.shape[2], right.shape[2]) < _MUCH:
        return torch.matmul(left, right, out=out)
    for lefts, rights, outs in zip(left.unbind(), right.unbind(), out.unbind(), strict=True):
        for one, other, into in zip(lefts.unbind(), rights.unbind(), outs.unbind(), strict=True):
            torch.mm(one, other, out=into)
    return out
