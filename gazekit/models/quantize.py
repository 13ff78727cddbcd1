"""A frozen decoder in four bits, for adapters to be trained on (QLoRA; Dettmers et al., 2023), by bitsandbytes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig


def four_bits(dtype: str, keep: tuple[str, ...] = ("lm_head",)) -> BitsAndBytesConfig:
    """What a loader of transformers is told: NF4, its scales quantised too.

    Args:
        dtype: What is computed in, by torch's name.
        keep: Modules that stay as they are.

    Raises:
        ImportError: bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise ImportError("quantize needs bitsandbytes; install it with: pip install 'gazekit[qlora]'")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        llm_int8_skip_modules=list(keep),
    )


def leave_out(model: nn.Module) -> None:
    """Keeps weights in four bits out of state dicts, in place: they are frozen and follow from what was loaded.

    Checkpoints then hold what is trained, and load into a model that was made anew from the same files.
    """
    for layer in model.modules():
        if _quantized(layer):
            layer.register_state_dict_post_hook(_drop)
            layer.register_load_state_dict_pre_hook(_stay)


def _quantized(layer: nn.Module) -> bool:
    # Its own: what wraps a layer may show that layer's weight.
    return getattr(layer._parameters.get("weight"), "quant_state", None) is not None


def _drop(layer: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}weight")]:
        del state[name]


def _stay(layer: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """To be loaded is what is there."""
    weight: Any = layer.weight
    state[f"{prefix}weight"] = weight.data


def dequantize(layer: nn.Module) -> nn.Module:
    """A linear layer with the weight that its four bits stand for; any other module as it is."""
    if not _quantized(layer):
        return layer
    from bitsandbytes.functional import dequantize_4bit

    quantized: Any = layer
    # On a CPU inference rearranges the weights; saving, and nothing else, puts them back.
    quantized.state_dict()
    weight = dequantize_4bit(quantized.weight.data, quantized.weight.quant_state)
    with torch.device("meta"):
        plain = nn.Linear(quantized.in_features, quantized.out_features, bias=quantized.bias is not None)
    plain.weight = nn.Parameter(weight, requires_grad=False)
    if quantized.bias is not None:
        plain.bias = quantized.bias
    return plain


def dequantize_all(model: nn.Module) -> None:
    """Gives every layer of a model in four bits the weight that they stand for, in place."""
    for name, layer in list(model.named_modules()):
        plain = dequantize(layer)
        if plain is not layer:
            holder, _, last = name.rpartition(".")
            setattr(model.get_submodule(holder), last, plain)
