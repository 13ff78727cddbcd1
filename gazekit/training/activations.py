"""Switches activation checkpointing of a transformers model, under either of the names that it goes by."""

from __future__ import annotations

from torch import nn


def checkpoint_activations(model: nn.Module, wanted: bool) -> None:
    """Computes activations again in the backward, or keeps them.

    Raises:
        ValueError: It is wanted of a model that cannot do it.
    """
    # transformers renamed `gradient_checkpointing_*` in 5.2x; both ends of the supported range have one name each.
    name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    enable = getattr(model, f"{name}_checkpointing_enable", None)
    if wanted:
        if enable is None:
            raise ValueError(
                f"gradient_checkpointing needs a transformers model, {type(model).__name__} is none; set it to false"
            )
        enable(**{f"{name}_checkpointing_kwargs": {"use_reentrant": False}})
    elif getattr(model, f"is_{name}_checkpointing", False):
        getattr(model, f"{name}_checkpointing_disable")()
