"""The attention and mask functions that transformers calls, and how gaze gets into a stock decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from gazekit.contracts import Look, TokenLayout
from gazekit.gaze.cache import GazeCacheLayer
from gazekit.gaze.composition import Gaze
from gazekit.gaze.forward import Divisions, Eviction, ForwardPass
from gazekit.gaze.loop import look_once
from gazekit.gaze.memory import LayerMemory
from gazekit.gaze.parts import drop_parts, fit_parts

NAME = "gaze"

# What some decoders (GPT-OSS; Gemma 2) hand to their attention, and neither we nor the stock SDPA compute.
_UNKNOWN = {"s_aux": "learned attention sinks", "softcap": "capped attention logits"}


@dataclass(frozen=True)
class GazeMask:
    """Stands in for a mask: the layout says more than a mask could, so one is built only where nothing else will do.

    Attributes:
        build: Builds transformers' own boolean mask `[batch 1 query key]`.
    """

    build: Callable[[], Tensor]


def gaze_mask(**arguments: object) -> GazeMask:
    """The mask function registered under the name "gaze"."""
    return GazeMask(lambda: sdpa_mask(**{**arguments, "allow_is_causal_skip": False}))


def gaze_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: GazeMask | Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    gaze_pass: ForwardPass | None = None,
    gaze_hidden: Tensor | None = None,
    gaze_rope: tuple[Tensor, Tensor] | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """The attention function registered under the name "gaze".

    Without a forward under way (the text model called by itself), and in layers with a sliding window, it is the
    stock attention.

    Args:
        module: The `self_attn` that calls.
        query: `[batch head query dim]`, after RoPE.
        key: `[batch kv_head key dim]`, after RoPE.
        value: `[batch kv_head key dim]`.
        attention_mask: What `gaze_mask` gave.
        scaling: Factor on the logits, `dim ** -0.5` by default.
        dropout: Must be 0.
        sliding_window: Window of a stock sliding layer, in tokens.
        gaze_pass: What this forward's layers share, from `begin_pass`.
        gaze_hidden: `[batch query width]`, what `self_attn` was given; from the hook that `install` put there.
        gaze_rope: Cosines and sines `[batch query rope]` of the queries' positions, likewise.
        **kwargs: What else transformers passes along; not used.

    Returns:
        `[batch query head dim]`, and None for attention weights.

    Raises:
        ValueError: A mask of the user's own, attention dropout, learned sinks or capped logits.
    """
    for name, what in _UNKNOWN.items():
        if kwargs.get(name) is not None:
            raise ValueError(
                f"the decoder must not have {what} ({name}), which gaze would leave out; use a checkpoint with "
                "another decoder"
            )
    if gaze_pass is None or sliding_window is not None or not hasattr(module, "gaze"):
        mask = attention_mask.build() if isinstance(attention_mask, GazeMask) else attention_mask
        return sdpa_attention_forward(
            module, query, key, value, mask, dropout=dropout, scaling=scaling, is_causal=mask is None
        )
    if isinstance(attention_mask, Tensor):
        raise ValueError(
            "attention_mask must be 2-D [batch token], got a mask of one's own with shape "
            f"{tuple(attention_mask.shape)}: what tokens see under gaze follows from the layout; "
            "leave the mask out, or run the model with attn_implementation='sdpa'"
        )
    if dropout > 0:
        raise ValueError(
            f"attention_dropout must be 0 under gaze, got {dropout}; set it in the text model's config"
        )
    look = Look(
        query=query,
        key=key,
        value=value,
        layer=cast(int, module.layer_idx),
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        hidden=gaze_hidden,
        cos=None if gaze_rope is None else gaze_rope[0],
        sin=None if gaze_rope is None else gaze_rope[1],
    )
    return look_once(look, cast(Gaze, module.gaze), gaze_pass).transpose(1, 2).contiguous(), None


def _hand_on(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    """A pre-hook of `self_attn`: what its attention function does not get otherwise travels as arguments.

    So nothing holds on to the tensors, and a checkpointed layer hands them on again when it is computed again.
    """
    if kwargs.get("gaze_pass") is None:
        return None
    hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
    more: dict[str, object] = {"gaze_hidden": hidden}
    rope = kwargs.get("position_embeddings")
    # Three axes of positions that the layer itself would still have to merge are nothing that parts could use.
    if isinstance(rope, tuple) and rope[0].ndim == 3:
        more["gaze_rope"] = tuple(field.expand(hidden.shape[0], -1, -1) for field in rope)
    return args, {**kwargs, **more}


def install(text_model: nn.Module, gaze: Gaze | Sequence[Gaze]) -> None:
    """Puts gaze into a stock decoder of transformers, through its attention interface.

    Parts with weights get a copy in every layer, `self_attn.gaze_parts`; one that was there before, at the same place
    with the same arguments, keeps its weights.

    Args:
        text_model: A decoder such as `Qwen3Model` or `Qwen3ForCausalLM`.
        gaze: One composition for all layers, or several that the layers cycle over.

    Raises:
        ValueError: The model has no decoder layers with a `self_attn`, or no composition was given.
    """
    compositions = [gaze] if isinstance(gaze, Gaze) else list(gaze)
    if not compositions:
        raise ValueError("gaze must be a composition or a list of at least one, got none")
    attentions = _attentions(text_model)
    register()
    text_model.set_attn_implementation(NAME)
    for attention in attentions:
        if "gaze_hook" not in attention.__dict__:
            hook = attention.register_forward_pre_hook(_hand_on, with_kwargs=True)
            attention.__dict__["gaze_hook"] = hook
        one = fit_parts(attention, compositions[cast(int, attention.layer_idx) % len(compositions)])
        setattr(attention, "gaze", one)  # noqa: B010
    text_model.__dict__.setdefault("gaze_trace", None)
    text_model.__dict__.setdefault("gaze_eviction", None)


def uninstall(text_model: nn.Module) -> None:
    """Gives a decoder its stock attention back; one without gaze stays as it is."""
    attentions = [one for one in _attentions(text_model) if hasattr(one, "gaze")]
    for attention in attentions:
        attention.__dict__.pop("gaze_hook").remove()
        drop_parts(attention)
        del attention.gaze
    if attentions:
        text_model.set_attn_implementation("sdpa")
    for name in ("gaze_trace", "gaze_eviction"):
        text_model.__dict__.pop(name, None)


def register() -> None:
    """Makes the name "gaze" known to transformers; doing it again changes nothing."""
    AttentionInterface.register(NAME, gaze_attention)
    AttentionMaskInterface.register(NAME, gaze_mask)


def compositions(text_model: nn.Module) -> list[Gaze]:
    """The composition of each layer, by layer index; empty where gaze is not installed."""
    return [cast(Gaze, one.gaze) for one in _attentions(text_model) if hasattr(one, "gaze")]


def begin_pass(
    text_model: nn.Module,
    layout: TokenLayout,
    start: int,
    stop: int,
    *,
    past_key_values: Cache | None = None,
    openness: float | Sequence[float] | None = None,
) -> ForwardPass:
    """Computes once what all layers of a forward share; hand it to the text model as `gaze_pass=`.

    Args:
        text_model: The decoder that gaze was installed in.
        layout: The whole prompt as far as it is declared.
        start: Sequence index of the first query.
        stop: One past that of the last.
        past_key_values: The cache that the same forward gets.
        openness: 1 = dense ... 0 = the target, one for all layers or one for each; None = where the schedule of each
            layer ends.

    Raises:
        ValueError: An openness for each layer, but not as many as there are layers.
    """
    num_layers = len(_attentions(text_model))
    if isinstance(openness, Sequence) and len(openness) != num_layers:
        raise ValueError(
            f"openness must be one number or one for each of the {num_layers} layers, got {len(openness)}"
        )
    layers = [] if past_key_values is None else past_key_values.layers
    ours = {index: layer for index, layer in enumerate(layers) if isinstance(layer, GazeCacheLayer)}
    memory: dict[int, LayerMemory] = {}
    gazes = compositions(text_model)
    for index, layer in ours.items():
        if index < len(gazes):
            layer.settle(gazes[index].storage)
        layer.memory.awaiting = True
        memory[index] = layer.memory
    forward = ForwardPass(
        layout=layout.extended(stop),
        declared=layout.length,
        start=start,
        stop=stop,
        openness=openness,
        num_layers=num_layers,
        memory=memory,
        trace=text_model.__dict__.get("gaze_trace"),
        known=next(iter(ours.values())).divisions if ours else Divisions(),
        eviction=text_model.__dict__.get("gaze_eviction"),
    )
    for gaze in gazes:
        for one in gaze.looks:
            forward.division(one)
    return forward


@contextmanager
def evicting(model: nn.Module, eviction: Eviction) -> Iterator[None]:
    """Lets an eviction decide after every forward inside the block; prefill inside it, decode outside.

    Raises:
        ValueError: The model has no gaze.
    """
    holders = [module for module in model.modules() if "gaze_eviction" in module.__dict__]
    if not holders:
        raise ValueError(
            "model must have gaze for an eviction; install it with gazekit.gaze.install(text_model, gaze)"
        )
    for module in holders:
        module.__dict__["gaze_eviction"] = eviction
    try:
        yield
    finally:
        for module in holders:
            module.__dict__["gaze_eviction"] = None


def _attentions(text_model: nn.Module) -> list[nn.Module]:
    """Every layer's `self_attn`, by layer index."""
    decoder = text_model.get_decoder() if hasattr(text_model, "get_decoder") else text_model
    found = [layer.self_attn for layer in getattr(decoder, "layers", []) if hasattr(layer, "self_attn")]
    if not found:
        raise ValueError(
            f"text_model must be a decoder whose layers have a self_attn, got {type(text_model).__name__}; "
            "pass the language model, not the whole multimodal model"
        )
    return found
