"""The layout of a prompt of someone else's model, whole or continued turn by turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedConfig

from gazekit.contracts import TokenLayout, Tokens, concatenate
from gazekit.models.retrofit.architectures import adapter_of
from gazekit.models.retrofit.media import layout_of_media


def given_media(config: PreTrainedConfig, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """Those of a model's inputs that say where its images and videos lie."""
    names = adapter_of(config.model_type).inputs
    return {name: inputs[name] for name in names if inputs.get(name) is not None}


def layout_of_prompt(
    config: PreTrainedConfig,
    input_ids: Int[Tensor, "batch token"],
    attention_mask: Tensor | None,
    given: Mapping[str, Tensor],
) -> TokenLayout:
    """Where every token of a prompt lies, from its ids and the sizes of its images and videos.

    Args:
        config: The model's, whose architecture has an adapter.
        input_ids: The whole prompt, placeholders expanded.
        attention_mask: True or 1 = real, False or 0 = padding; None = all real.
        given: What `given_media` found.

    Raises:
        ValueError: The mask has another shape than the ids, or placeholders and media do not match.
    """
    adapter = adapter_of(config.model_type)
    valid = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
    if valid.shape != input_ids.shape:
        raise ValueError(
            f"attention_mask must be 2-D [batch token] and have the shape of input_ids {tuple(input_ids.shape)}, got "
            f"{tuple(valid.shape)}: what tokens see under gaze follows from the layout of the whole prompt; pass the "
            "ids and the mask of all of it"
        )
    context = getattr(config, "gaze_context_ids", None) or ()
    media = adapter.media(config, input_ids, valid, given)
    return layout_of_media(input_ids, valid, media, adapter.visual_ids(config), context)


def continued(earlier: TokenLayout, later: TokenLayout) -> TokenLayout:
    """One conversation of two turns: the later one counts its orders, units and clips on from the earlier one."""
    before, after = earlier.tokens, later.tokens
    visual, real = after.unit >= 0, after.valid
    tokens = Tokens(
        kind=after.kind,
        unit=torch.where(visual, after.unit + _next(before.unit), -1),
        document=torch.where(real, before.document.amax(dim=-1, keepdim=True).clamp_min(0), -1),
        order=torch.where(real, after.order + _next(before.order), -1),
        owner=after.owner,
    )
    clip = torch.where(later.clip >= 0, later.clip + _next(earlier.clip), -1)
    return TokenLayout(
        tokens=concatenate([before, tokens]),
        clip=torch.cat([earlier.clip, clip], dim=1),
        place=torch.cat([earlier.place, later.place], dim=1),
    )


def _next(count: Int[Tensor, "*axes token"]) -> Int[Tensor, "*axes 1"]:
    """One more than the largest of each sample, 0 where there is none."""
    return count.amax(dim=-1, keepdim=True) + 1
