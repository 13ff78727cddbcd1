"""What a call of `forward` or `generate` becomes on its way to the stock model."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from gazekit.contracts import TokenLayout
from gazekit.gaze import NAME, SequenceCache, begin_pass, prepare_cache, remember, remembered
from gazekit.gaze.cache import take_cache
from gazekit.models.layout import hide_padding
from gazekit.models.retrofit.architectures import adapter_of
from gazekit.models.retrofit.prompt import continued, given_media, layout_of_prompt
from gazekit.models.retrofit.turns import encode_unseen
from gazekit.models.retrofit.versions import check_version

# What takes tokens back: each guesses ahead, and an assistant is taken back by the model that asks it.
_GUESSING = ("assistant_model", "prompt_lookup_num_tokens", "assistant_early_exit", "use_mtp", "is_assistant")
# How the names begin by which pictures reach a model: as pixels, as their features, or among the embeddings.
_SHOWN = ("pixel_values", "image_", "video_", "mm_encoder_outputs", "inputs_embeds")


def for_forward(
    model: PreTrainedModel,
    kwargs: dict[str, Any],
    packed: Int[Tensor, "batch token field"] | None,
    openness: float | Sequence[float] | None,
) -> dict[str, Any]:
    """The arguments of the stock forward: with a cache of ours, and what its layers share as `gaze_pass`.

    Raises:
        ValueError: Another attention was set, so that gaze would not be asked; the layout of what a cache holds is not
            known; placeholders and media do not match; or an image whose tokens see each other is cut.
    """
    decoder = model.get_decoder()
    check_attention(model)
    name, cache = take_cache(model, kwargs)
    start = 0 if cache is None else int(cache.get_seq_length())
    tokens = kwargs.get("input_ids")
    stop = start + (kwargs["inputs_embeds"] if tokens is None else tokens).shape[1]
    layout = _layout(model, kwargs, cache, start) if packed is None else TokenLayout.unpack(packed)
    _check_whole(layout, stop)
    if kwargs.get("use_cache") is None:
        trains = model.training or kwargs.get("labels") is not None
        kwargs["use_cache"] = bool(decoder.config.use_cache) and not trains
    if model.training and _checkpoints(model):
        # transformers takes the cache away from checkpointed layers.
        kwargs["use_cache"], cache = False, None
    if kwargs["use_cache"] or cache is not None:
        cache = prepare_cache(cache, decoder.config)
        remember(cache, layout)
    step = begin_pass(decoder, layout, start, stop, past_key_values=cache, openness=openness)
    return {**kwargs, name: cache, "gaze_pass": step}


def for_generate(model: PreTrainedModel, input_ids: Tensor | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the stock `generate`, with the layout of the whole prompt.

    transformers encodes images before the first forward and drops their sizes, so that nobody could tell later where
    their tokens lie.

    Raises:
        ValueError: Only a piece of the prompt was given, or placeholders and media do not match.
    """
    check_attention(model)
    kwargs = dict(kwargs)
    name, cache = take_cache(model, kwargs)
    start = 0 if cache is None else int(cache.get_seq_length())
    guesses = _guesses(model, kwargs)
    for use, does in (
        ("prefill in chunks", _asked(model, kwargs, "prefill_chunk_size")),
        ("a later turn", start),
        ("guessing ahead", guesses),
    ):
        if does and given_media(model.config, kwargs):
            check_version(use)
    if model.training and _checkpoints(model):
        # transformers takes the cache away from checkpointed layers, and would go on from the last token alone.
        kwargs["use_cache"] = False
    # A compiled static cache would bake one prompt's layout into its graph.
    kwargs.setdefault("disable_compile", True)
    if input_ids is not None:
        if kwargs.get("attention_mask") is None:
            kwargs["attention_mask"] = hide_padding(input_ids, _pad(model, kwargs))
        if kwargs.get("gaze_layout") is None:
            kwargs["gaze_layout"] = _conversation(model, input_ids, kwargs, cache, start).pack()
        if start and "mm_encoder_outputs" in inspect.signature(model.forward).parameters:
            visual_ids = adapter_of(model.config.model_type).visual_ids(model.config)
            kwargs = encode_unseen(model, input_ids, start, visual_ids, kwargs)
    elif kwargs.get("gaze_layout") is None:
        raise ValueError(
            "generate needs input_ids, or gaze_layout beside inputs_embeds: embeddings do not say which of them are "
            "visual; pass gaze_layout=model.layout(input_ids, attention_mask, ...).pack()"
        )
    if guesses and cache is None:
        cache = SequenceCache(config=model.get_decoder().config)
        if _asked(model, kwargs, "is_assistant") and hasattr(cache, "activate_past_recording"):
            # As transformers does with a cache that it makes itself: layers with a sliding window forget otherwise.
            cache.activate_past_recording()
        remember(cache, TokenLayout.unpack(kwargs["gaze_layout"]))
        assistant = kwargs.get("assistant_model")
        if assistant is None or "gaze_layout" not in inspect.signature(assistant.forward).parameters:
            del kwargs["gaze_layout"]
    return kwargs if cache is None else {**kwargs, name: cache}


def check_attention(model: PreTrainedModel) -> None:
    """Refuses to run dense without a word.

    Raises:
        ValueError: The decoder's attention implementation is not gaze.
    """
    found = model.get_decoder().config._attn_implementation
    if found != NAME:
        raise ValueError(
            f"the attention implementation of the language model must be {NAME!r}, got {found!r}, which does not ask "
            f"gaze: set it back by model.set_attn_implementation({{'text_config': {NAME!r}}}), or take gaze out by "
            "gazekit.remove_gaze(model)"
        )


def _layout(model: PreTrainedModel, kwargs: dict[str, Any], cache: Cache | None, start: int) -> TokenLayout:
    """The layout of a forward that was given none: of its own ids, continued from what the cache was filled under."""
    ids, mask = kwargs.get("input_ids"), kwargs.get("attention_mask")
    given = given_media(model.config, kwargs)
    declared = remembered(cache) if isinstance(cache, SequenceCache) else None
    if start == 0 and declared is not None:
        return declared
    if start == 0:
        if ids is None:
            raise ValueError(
                "gaze_layout must be given beside inputs_embeds, got none: embeddings do not say which of them are "
                "visual; pass gaze_layout=model.layout(input_ids, attention_mask, ...).pack()"
            )
        _check_shown(model, ids, kwargs)
        return layout_of_prompt(model.config, ids, mask, given)
    earlier = _earlier(cache, kwargs)
    if start < earlier.length or not given:
        return earlier
    mask = mask if mask is None or mask.ndim != 2 else mask[:, start:]
    return continued(earlier.extended(start), layout_of_prompt(model.config, cast(Tensor, ids), mask, given))


def _conversation(
    model: PreTrainedModel, input_ids: Tensor, kwargs: dict[str, Any], cache: Cache | None, start: int
) -> TokenLayout:
    """The layout of a whole conversation; images of earlier turns are given again, or known from the cache."""
    mask, given = kwargs["attention_mask"], given_media(model.config, kwargs)
    if not start:
        _check_shown(model, input_ids, kwargs)
        return layout_of_prompt(model.config, input_ids, mask, given)
    if input_ids.shape[1] <= start or mask.shape != input_ids.shape:
        raise ValueError(
            f"input_ids and attention_mask must hold the whole conversation, got {input_ids.shape[1]} and "
            f"{mask.shape[-1]} tokens, and the cache holds {start} already; pass all ids so far, with their mask"
        )
    if given and remembered(cast(Cache, cache)) is None:
        return layout_of_prompt(model.config, input_ids, mask, given)
    earlier = _earlier(cache, kwargs).extended(start)
    if not torch.equal(earlier.tokens.valid[:, 0, :start], mask[:, :start].bool()):
        raise ValueError(
            f"attention_mask must hide the same of the first {start} tokens as when the cache was filled, got another; "
            "what a cache holds cannot be hidden later"
        )
    try:
        later = layout_of_prompt(model.config, input_ids[:, start:], mask[:, start:], given)
    except ValueError:
        return layout_of_prompt(model.config, input_ids, mask, given)
    return earlier if earlier.length > start else continued(earlier, later)


def _check_shown(model: PreTrainedModel, ids: Tensor, kwargs: dict[str, Any]) -> None:
    """Refuses a prompt that speaks of images where none come with it: nothing would take their places."""
    if any(kwargs[name] is not None for name in kwargs if name.startswith(_SHOWN)):
        return
    wanted = [one for one in adapter_of(model.config.model_type).visual_ids(model.config) if one is not None]
    if found := int(torch.isin(ids, torch.tensor(wanted, device=ids.device)).sum()):
        raise ValueError(
            f"pixel_values must be given with a prompt that has {found} placeholders of images or videos, got none; "
            "pass all that the processor returned"
        )


def _check_whole(layout: TokenLayout, stop: int) -> None:
    """Refuses a forward that ends inside an image whose tokens see each other, which they then could not."""
    if stop >= layout.length:
        return
    order = layout.tokens.order[:, 0]
    if bool(((order[:, stop - 1] == order[:, stop]) & layout.tokens.valid[:, 0, stop]).any()):
        raise ValueError(
            f"an image whose tokens see each other must come in one piece, got a forward that ends inside one, at "
            f"token {stop}; raise prefill_chunk_size beyond the prompt, or leave it out"
        )


def _earlier(cache: Cache | None, kwargs: dict[str, Any]) -> TokenLayout:
    """What the cache was filled under.

    Raises:
        ValueError: That is not known.
    """
    layout = None if cache is None else remembered(cache)
    ids = kwargs.get("input_ids")
    if layout is None or (ids is not None and layout.kind.shape[0] != ids.shape[0]):
        raise ValueError(
            "gaze_layout must be given with a cache whose prompts are not known: it was filled by another model, or "
            "its samples were moved since; pass gaze_layout=model.layout(...).pack() of the whole prompt"
        )
    return layout


def _checkpoints(model: PreTrainedModel) -> bool:
    """Whether activations are computed again in the backward pass, which versions call by two names."""
    names = ("is_activation_checkpointing", "is_gradient_checkpointing")
    return bool(getattr(model, next(name for name in names if hasattr(type(model), name))))


def _guesses(model: PreTrainedModel, kwargs: dict[str, Any]) -> bool:
    """Whether tokens will be guessed and taken back, which a region cache does not do.

    The layout is then left with the cache: an assistant is handed all other arguments, and may be a stock model. One
    with gaze is handed the layout too: the sizes that it would follow from are gone by then.
    """
    own = _asked(model, kwargs, "cache_implementation")
    return not own and any(_asked(model, kwargs, name) for name in _GUESSING)


def _asked(model: PreTrainedModel, kwargs: dict[str, Any], name: str) -> Any:
    """An argument of generation, from the call or from the configuration; falsy = not asked for."""
    config = kwargs.get("generation_config") or model.generation_config
    return kwargs.get(name) or getattr(config, name, None)


def _pad(model: PreTrainedModel, kwargs: dict[str, Any]) -> int | None:
    """The id that batches are padded with; None where it ends answers too, as transformers has it."""
    config = kwargs.get("generation_config") or model.generation_config
    pad, end = (kwargs.get(name, getattr(config, name, None)) for name in ("pad_token_id", "eos_token_id"))
    return None if pad in (end if isinstance(end, (list, tuple)) else [end]) else pad
