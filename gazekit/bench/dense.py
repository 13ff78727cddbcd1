"""Dense attention of one query per sample, in every form that may be the fastest: what gaze is measured against."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Query = Float[Tensor, "batch head 1 dim"]
Entry = Float[Tensor, "batch kv_head entry dim"]


def folded(query: Query, key: Entry, value: Entry) -> Tensor:
    """torch's attention with the heads of a group along the query axis: keys are read once for all of them."""
    return scaled_dot_product_attention(
        query.reshape(query.shape[0], key.shape[1], -1, query.shape[3]), key, value
    )


def grouped(query: Query, key: Entry, value: Entry) -> Tensor:
    """torch's attention as models call it."""
    return scaled_dot_product_attention(query, key, value, enable_gqa=True)


def products(query: Query, key: Entry, value: Entry) -> Tensor:
    """Two matrix products with a softmax in fp32 between them: on CPUs in bf16 often faster than both above."""
    grouped = query.reshape(query.shape[0], key.shape[1], -1, query.shape[3])
    weights = (grouped @ key.transpose(2, 3)).float().mul_(query.shape[3] ** -0.5).softmax(dim=-1)
    return weights.to(value.dtype) @ value


FORMS: dict[str, Callable[[Query, Entry, Entry], Tensor]] = {
    "dense folded": folded,
    "dense grouped": grouped,
    "dense products": products,
}
"""By name."""
