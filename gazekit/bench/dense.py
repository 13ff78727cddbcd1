"""Dense attention of one query per sample, in every form that may be the fastest: what gaze is measured against."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

Query = Float[Tensor, "batch head 1 dim"]
Entry = Float[Tensor, "batch kv_head entry dim"]
Form = Callable[[Query, Entry, Entry], Tensor]


def folded(query: Query, key: Entry, value: Entry) -> Tensor:
    """torch's attention with the heads of a group along the query axis: keys are read once for all of them."""
    return scaled_dot_product_attention(_fold(query, key), key, value).reshape(query.shape)


def grouped(query: Query, key: Entry, value: Entry) -> Tensor:
    """torch's attention as models call it."""
    return scaled_dot_product_attention(query, key, value, enable_gqa=True)


def products(query: Query, key: Entry, value: Entry) -> Tensor:
    """Two matrix products with a softmax in fp32 between them: on CPUs in bf16 often faster than both above."""
    weights = (_fold(query, key) @ key.transpose(2, 3)).float().mul_(query.shape[3] ** -0.5).softmax(dim=-1)
    return (weights.to(value.dtype) @ value).reshape(query.shape)


def flash(query: Query, key: Entry, value: Entry) -> Tensor:
    """torch's attention by its flash kernel."""
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return folded(query, key, value)


def cudnn(query: Query, key: Entry, value: Entry) -> Tensor:
    """torch's attention by cuDNN."""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return grouped(query, key, value)


def flex(query: Query, key: Entry, value: Entry) -> Tensor:
    """FlexAttention, compiled; for one query it decodes by splitting the keys."""
    return _flex()(query, key, value, enable_gqa=True)


def xformers(query: Query, key: Entry, value: Entry) -> Tensor:
    """The fastest forward of xformers."""
    from xformers.ops import memory_efficient_attention_forward

    group = query.shape[1] // key.shape[1]
    asked = (field.transpose(1, 2)[:, :, :, None].expand(-1, -1, -1, group, -1) for field in (key, value))
    return memory_efficient_attention_forward(_fold(query, key)[:, None], *asked).reshape(query.shape)


def flashinfer(query: Query, key: Entry, value: Entry) -> Tensor:
    """FlashInfer's decoding of a single sequence.

    Raises:
        ValueError: There is more than one sample.
    """
    from flashinfer import single_decode_with_kv_cache

    if query.shape[0] != 1:
        raise ValueError("it decodes one sample here, and there are more")
    return single_decode_with_kv_cache(query[0, :, 0], key[0], value[0], kv_layout="HND").reshape(query.shape)


EVERYWHERE: dict[str, Form] = {"folded": folded, "grouped": grouped, "products": products}
"""By name; `gazekit bench` says "dense" before it."""

ON_CUDA: dict[str, Form] = EVERYWHERE | {
    "flash": flash,
    "cudnn": cudnn,
    "flex": flex,
    "xformers": xformers,
    "flashinfer": flashinfer,
}
"""The same, and those that need a CUDA GPU or what may not be installed."""


def forms_on(device: str) -> dict[str, Form]:
    """All forms for a device, with "dense" before their names; `refusal` tells which of them run."""
    forms = ON_CUDA if device.startswith("cuda") else EVERYWHERE
    return {f"dense {name}": form for name, form in forms.items()}


def refusal(form: Form, query: Query, key: Entry, value: Entry) -> str | None:
    """Why a form cannot be measured: what it raises, or that it is wrong; None = it can."""
    try:
        found = form(query, key, value).float()
    except Exception as error:  # Whatever a library that may be there or not comes to is its reason.
        return (str(error) or type(error).__name__).splitlines()[0]
    expected = products(query, key, value).float()
    distance = float((found - expected).norm() / expected.norm())
    return None if distance < 0.05 else f"it is wrong by {distance:.2g}"


def _fold(query: Query, key: Entry) -> Float[Tensor, "batch kv_head group dim"]:
    return query.reshape(query.shape[0], key.shape[1], -1, query.shape[3])


@cache
def _flex() -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)
