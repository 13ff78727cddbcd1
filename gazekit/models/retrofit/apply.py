"""Gaze into a model that people already have, and out again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from torch import nn
from transformers import PreTrainedModel

from gazekit.gaze import Gaze
from gazekit.models.gaze import compose, context_tokens, section_of
from gazekit.models.retrofit.architectures import adapter_of
from gazekit.models.retrofit.context import add_context_tokens
from gazekit.models.retrofit.processors.context import emit_context
from gazekit.models.retrofit.subclass import WithGaze, equip, gaze_class, restore_parts, stock_class, take_out

Model = TypeVar("Model", bound=nn.Module)


def apply_gaze(
    model: Model,
    gaze: Gaze | Sequence[Gaze | Mapping[str, Any]] | Mapping[str, Any] | None = None,
    processor: Any = None,
    imports: Iterable[str] = (),
) -> Model:
    """Gives a multimodal model of transformers gaze attention; `generate` and `forward` are used as before.

    Nothing is copied or patched: the model's class becomes a subclass of itself, and the attention function of its
    language model is gaze's. Weights and their names stay as they are; `save_pretrained` writes a checkpoint that
    transformers opens as the stock model, with the composition in config.json and what learned parts it has in
    `gaze.safetensors`.

    Example:
        >>> model = AutoModelForImageTextToText.from_pretrained("Qwen/Qwen2.5-VL-3B-Instruct")
        >>> model = apply_gaze(model, Gaze(partition=GridPartition(size=(1, 6, 6)), route=TopKRouter(k=4)))

    Args:
        model: Any architecture that `gazekit.models.retrofit.architectures` has a file for, or a Cambrian.
        gaze: A composition, several that cycle over the layers, a section of a recipe; None = what config.json of a
            model that was saved with gaze says.
        processor: The model's processor, which learns to write context tokens; needed where the composition has some.
        imports: Modules beside gazekit that a section may name.

    Returns:
        The same model.

    Raises:
        ValueError: The model is not multimodal, has no adapter or has gaze already; there is no section to restore; or
            the composition is wrong.
    """
    if hasattr(model, "set_gaze"):
        return _set(model, gaze, imports)
    known = _checked(model)
    if gaze is None and getattr(known.config, "gaze", None) is None:
        raise ValueError(
            "gaze must be given, got None, and model.config has no gaze section to restore; pass "
            "Gaze(partition=GridPartition(size=(1, 6, 6)), route=TopKRouter(k=4)), say"
        )
    section = known.config.gaze if gaze is None else section_of(gaze)
    gazes = compose(section, imports)
    ids = _context_ids(known, gazes, processor, restored=gaze is None)
    equip(known, gazes)
    if gaze is None:
        _restore(known)
    known.config.gaze = section
    if ids:
        known.config.gaze_context_ids = ids
    elif hasattr(known.config, "gaze_context_ids"):
        del known.config.gaze_context_ids
    known.__class__ = gaze_class(type(known))
    return model


def remove_gaze(model: Model) -> Model:
    """Gives a model its own class and its stock attention back; rows of context tokens stay in its vocabulary.

    Returns:
        The same model.

    Raises:
        ValueError: The model has no gaze.
    """
    if hasattr(model, "set_gaze"):
        model.set_gaze(None)
        return model
    if not isinstance(model, WithGaze):
        raise ValueError(f"model must have gaze for it to be removed, got a {type(model).__name__} without")
    known = cast(PreTrainedModel, model)
    take_out(known)
    for name in {"gaze", "gaze_context_ids"} & set(vars(known.config)):
        delattr(known.config, name)
    known.__class__ = stock_class(type(known))
    return model


def _checked(model: nn.Module) -> PreTrainedModel:
    """The model, if gaze can be put into it."""
    if isinstance(model, WithGaze):
        raise ValueError(
            "model must not have gaze already: take it out by gazekit.remove_gaze(model), then apply the new one"
        )
    if not isinstance(model, PreTrainedModel) or not model.can_generate():
        raise ValueError(
            "model must be a model of transformers that generates, such as Qwen2_5_VLForConditionalGeneration, got "
            f"{type(model).__name__}; apply gaze before a model is wrapped (peft, DDP), and to the whole model"
        )
    if model.config.get_text_config() is model.config:
        raise ValueError(
            f"model must be multimodal, got {type(model).__name__} of text only: gaze looks at visual tokens; the "
            "decoder of a multimodal model of your own gets it by gazekit.gaze.install(decoder, gaze)"
        )
    adapter_of(model.config.model_type)
    return model


def _set(model: Any, gaze: Any, imports: Iterable[str]) -> Any:
    """The same for a model that knows gaze by itself."""
    if gaze is not None:
        if model.gaze is not None:
            raise ValueError(
                "model must not have gaze already: take it out by gazekit.remove_gaze(model), then apply the new one"
            )
        model.set_gaze(gaze, imports)
    elif model.gaze is None:
        raise ValueError("gaze must be given, got None, and model.config has no gaze section to restore")
    return model


def _restore(model: PreTrainedModel) -> None:
    """Learned parts as they were saved; a model that they cannot be found for stays as it was."""
    try:
        restore_parts(model)
    except ValueError:
        take_out(model)
        raise


def _context_ids(
    model: PreTrainedModel, gazes: Sequence[Gaze], processor: Any, *, restored: bool
) -> list[int] | None:
    """Ids of the context tokens that every image or frame gets; None = there are none."""
    count = context_tokens(gazes)
    known = getattr(model.config, "gaze_context_ids", None) if restored else None
    if count == 0:
        if hasattr(processor, "gaze_context"):
            emit_context(processor, [])
        return None
    if processor is not None:
        return add_context_tokens(model, processor, count)
    if known is None:
        raise ValueError(
            f"processor must be given for a composition with {count} context tokens, got None: it writes them into "
            "prompts; pass the model's processor, or leave the context out"
        )
    return known
