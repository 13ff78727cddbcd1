"""Low-rank adapters in a decoder, by peft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gazekit.models.quantize import dequantize, dequantize_all

_ADAPTER = "default"


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Describes low-rank adapters of a decoder's linear layers (Hu et al., 2021).

    Args:
        rank: Of each adapter, at least 1.
        alpha: Their scale, over `rank`; None = twice the rank.
        targets: Names of the linear layers that get one.

    Raises:
        ValueError: `rank` is below 1, or no layer is named.
    """

    rank: int = 8
    alpha: float | None = None
    targets: Sequence[str] = ("q_proj", "v_proj")

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}; leave lora out for none")
        if not self.targets:
            raise ValueError(
                "targets must name linear layers of the decoder, got none; for example [q_proj, v_proj]"
            )

    def insert(self, decoder: nn.Module) -> None:
        """Puts adapters that change nothing yet into a decoder, in place; the weights that they adapt are frozen.

        They are fp32 whatever the decoder is: small steps would be lost in half precision.

        Raises:
            ValueError: The decoder has none of `targets`.
        """
        peft = _peft()
        names = {
            name.rpartition(".")[2]
            for name, module in decoder.named_modules()
            if isinstance(module, nn.Linear)
        }
        if missing := sorted(set(self.targets) - names):
            raise ValueError(
                f"targets must be linear layers of the decoder, which has no {', '.join(missing)}; "
                f"it has {', '.join(sorted(names))}"
            )
        alpha = 2 * self.rank if self.alpha is None else self.alpha
        config = peft.LoraConfig(
            r=self.rank, lora_alpha=alpha, target_modules=list(self.targets), lora_dropout=0.0
        )
        peft.inject_adapter_in_model(config, decoder, adapter_name=_ADAPTER)
        for module in lora_modules(decoder):
            module.float()


def lora_modules(decoder: nn.Module) -> list[nn.Module]:
    """The adapters' own layers in a decoder."""
    kind = _peft().tuners.lora.LoraLayer
    found = [module for module in decoder.modules() if isinstance(module, kind)]
    return [getattr(layer, name)[_ADAPTER] for layer in found for name in ("lora_A", "lora_B")]


def merge_lora(decoder: nn.Module) -> None:
    """Adds the adapters to the weights that they adapt and takes them out.

    A decoder in four bits gets the plain weights that they stand for.
    """
    kind = _peft().tuners.lora.LoraLayer
    for name, layer in [(name, one) for name, one in decoder.named_modules() if isinstance(one, kind)]:
        base: Any = dequantize(layer.get_base_layer())
        with torch.no_grad():
            delta = layer.get_delta_weight(_ADAPTER)
            base.weight.copy_((base.weight.to(delta) + delta).to(base.weight))
        holder, _, last = name.rpartition(".")
        setattr(decoder.get_submodule(holder), last, base)
    dequantize_all(decoder)


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ImportError("lora needs peft; install it with: pip install 'gazekit[lora]'") from error
    return peft
