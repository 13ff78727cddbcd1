"""Stock processors, torchvision or not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import transformers
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name
from transformers.utils import is_torchvision_available
from transformers.video_processing_utils import BaseVideoProcessor

from gazekit.models.retrofit.processors.frames import FrameProcessor
from gazekit.models.retrofit.processors.layers import layered

_VIDEO = "video_processor"
_FAMILY_OF = {
    "Qwen2VLProcessor": "Qwen2VLVideoProcessor",
    "Qwen2_5_VLProcessor": "Qwen2VLVideoProcessor",
    "Qwen3VLProcessor": "Qwen3VLVideoProcessor",
    "LlavaOnevisionProcessor": "LlavaOnevisionVideoProcessor",
    "InternVLProcessor": "InternVLVideoProcessor",
}


class WithoutTorchvision:
    """Laid before a stock processor class: takes a `FrameProcessor` where that asks for its own video processor."""

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        """As the stock class does, but for the stand-in."""
        if isinstance(argument, FrameProcessor):
            return FrameProcessor
        return super().check_argument_for_proper_class(argument_name, argument)  # type: ignore[misc]


def load_processor(source: str | os.PathLike) -> ProcessorMixin:
    """The stock processor of a checkpoint, with or without torchvision.

    Where torchvision is installed this is `AutoProcessor.from_pretrained`. Without it transformers cannot open a
    processor that has a video processor; then a `FrameProcessor` takes that one's place. What is saved is the same:
    `AutoProcessor` opens it elsewhere.

    Args:
        source: Folder or hub name.

    Raises:
        ValueError: The folder names no processor, or one with a video processor that has no stand-in.

    Example:
        >>> processor = load_processor("Qwen/Qwen2.5-VL-3B-Instruct")  # doctest: +SKIP
    """
    stock: Any = _class_of(source)
    if is_torchvision_available() or _VIDEO not in stock.get_attributes():
        return AutoProcessor.from_pretrained(source)
    described, _ = stock.get_processor_dict(source)
    settings, _ = BaseVideoProcessor.get_video_processor_dict(source)
    parts = [
        AutoImageProcessor.from_pretrained(source),
        AutoTokenizer.from_pretrained(source),
        _stand_in(stock, settings),
    ]
    in_order = dict(zip(("image_processor", "tokenizer", _VIDEO), parts, strict=True))
    arguments = [in_order[name] for name in stock.get_attributes()]
    return layered(stock, WithoutTorchvision).from_args_and_dict(arguments, described)


def make_processor(
    name: str,
    *,
    image_processor: Any,
    tokenizer: Any,
    video: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> ProcessorMixin:
    """A stock processor from its parts, with or without torchvision.

    Args:
        name: Its class in transformers, for example "Qwen2_5_VLProcessor".
        image_processor: Of the same architecture.
        tokenizer: With the architecture's special tokens.
        video: Settings of its video processor.
        arguments: What else the class takes, such as `chat_template`.

    Raises:
        ValueError: transformers has no such processor, or its video processor has no stand-in.
    """
    stock: Any = getattr(transformers, name, None)
    if not _is_processor(stock):
        raise ValueError(f"name must be a processor class of transformers, got {name!r}")
    parts, more = {"image_processor": image_processor, "tokenizer": tokenizer}, dict(arguments or {})
    if _VIDEO not in stock.get_attributes():
        return stock(**parts, **more)
    if is_torchvision_available():
        family = getattr(transformers, _FAMILY_OF[name])
        return stock(**parts, **{_VIDEO: family(**(video or {}))}, **more)
    return layered(stock, WithoutTorchvision)(**parts, **{_VIDEO: _stand_in(stock, video or {})}, **more)


def _is_processor(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, ProcessorMixin)


def _stand_in(stock: Any, settings: Mapping[str, Any]) -> FrameProcessor:
    written = {name: value for name, value in settings.items() if name != "video_processor_type"}
    family = settings.get("video_processor_type") or _FAMILY_OF.get(
        stock.__name__, f"that of {stock.__name__}"
    )
    return FrameProcessor(family, written)


def _class_of(source: str | os.PathLike) -> type[ProcessorMixin]:
    """The stock class that a checkpoint names, else the one of its architecture."""
    try:
        described, _ = ProcessorMixin.get_processor_dict(source)
    except OSError:  # there is no processor_config.json
        described = {}
    found = (
        processor_class_from_name(described["processor_class"]) if "processor_class" in described else None
    )
    if found is None:
        config = AutoConfig.from_pretrained(source)
        if type(config) not in PROCESSOR_MAPPING:
            raise ValueError(
                f"{source} must hold a multimodal model with a processor, got model_type {config.model_type!r}"
            )
        found = PROCESSOR_MAPPING[type(config)]
    return found
