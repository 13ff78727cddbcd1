"""Later turns of a conversation: what the cache has seen is not shown to the model again."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

# The input that holds the pixels of each modality, and the index of its placeholder among an adapter's.
_PIXELS = {"image": ("pixel_values", 0), "video": ("pixel_values_videos", 1)}


def encode_unseen(
    model: nn.Module,
    input_ids: Int[Tensor, "batch token"],
    start: int,
    visual_ids: tuple[int, int | None],
    kwargs: dict[str, Any],
) -> dict[str, Any]:
    """The arguments of `generate` with features of the images that the cache has not seen in place of all pixels.

    transformers hands every feature to a turn that has placeholders for the new ones only, and fails. Where the cache
    holds no images, or the images of this turn alone were given, nothing changes.

    Args:
        model: A model whose forward takes `mm_encoder_outputs`, and whose base model has `get_image_features`.
        input_ids: The whole conversation so far.
        start: Tokens that the cache holds.
        visual_ids: Placeholder ids of images and of videos.
        kwargs: What `generate` was called with.
    """
    kwargs, features = dict(kwargs), dict(kwargs.get("mm_encoder_outputs") or {})
    for modality, (name, which) in _PIXELS.items():
        number = visual_ids[which]
        marks = torch.zeros_like(input_ids, dtype=torch.bool) if number is None else input_ids == number
        if kwargs.get(name) is None or not bool(marks[:, :start].any()):
            continue
        features[modality] = _encode(model, modality, kwargs, marks, start)
        del kwargs[name]
    features = {modality: output for modality, output in features.items() if output is not None}
    return {**kwargs, "mm_encoder_outputs": features} if features else kwargs


def _encode(
    model: nn.Module, modality: str, kwargs: dict[str, Any], marks: Bool[Tensor, "batch token"], start: int
) -> Any:
    """The features that belong to placeholders from `start` on, in the order of the batch; None = there are none."""
    encode = getattr(model.base_model, f"get_{modality}_features")
    taken = _parameters(encode) & set(kwargs)
    output = encode(**{name: kwargs[name] for name in taken}, return_dict=True)
    unseen = marks.clone()
    unseen[:, :start] = False
    if not bool(unseen.any()):
        return None
    if _count(output["pooler_output"]) != int(marks.sum()):
        return output
    rows = unseen[marks].nonzero().flatten()
    kept: dict[str, Any] = {"pooler_output": _take(output["pooler_output"], rows)}
    layers = output.get("deepstack_features")
    if layers is not None:
        kept["deepstack_features"] = [_take(layer, rows) for layer in layers]
    return type(output)(**kept)


def _take(features: Any, rows: Int[Tensor, " row"]) -> list[Tensor] | Tensor:
    """The given rows of features that lie in one tensor `[item token dim]`, or in a list with one for each item."""
    flat = torch.cat([item.reshape(-1, item.shape[-1]) for item in features])[rows]
    return flat[None] if isinstance(features, Tensor) else [flat]


def _count(features: Any) -> int:
    return sum(item.numel() // item.shape[-1] for item in features)


def _parameters(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters) - {"kwargs"}
