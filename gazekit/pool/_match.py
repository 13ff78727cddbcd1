"""How rows meet descriptors."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from gazekit.contracts import Rows
from gazekit.kernels import native, triton


def match(
    rows: Rows,
    query: Float[Tensor, "batch head query dim"],
    descriptor: Float[Tensor, "batch kv_head region dim"],
) -> Float[Tensor, "batch head row region"]:
    """`dot` of the mean of each row's queries.

    A single query, as in decoding, is for a kernel of our own where that is built: torch's product wants more of them.
    """
    decodes = query.shape[2] == rows.count == 1 and not rows.blocks
    dtypes = query.dtype in (torch.bfloat16, torch.float32) and descriptor.dtype == torch.float32
    if decodes and dtypes and native.serves(query, descriptor):
        return native.scores(query[:, :, 0], descriptor)[:, :, None]
    return dot(rows.mean(query), descriptor)


def dot(
    query: Float[Tensor, "batch head row dim"], descriptor: Float[Tensor, "batch kv_head region dim"]
) -> Float[Tensor, "batch head row region"]:
    """`query . descriptor`; query heads of a group share their KV head's descriptors.

    One row each, as in decoding, is for a kernel where there is one.
    """
    if query.shape[2] == 1 and descriptor.dtype == torch.float32 and triton.serves(query, descriptor):
        return triton.scores(query[:, :, 0], descriptor)[:, :, None]
    group = query.shape[1] // descriptor.shape[1]
    grouped = rearrange(query, "batch (kv_head group) row dim -> batch kv_head (group row) dim", group=group)
    with torch.autocast(query.device.type, enabled=False):
        scores = grouped.to(descriptor.dtype) @ descriptor.transpose(-1, -2)
    return rearrange(
        scores, "batch kv_head (group row) region -> batch (kv_head group) row region", group=group
    )
