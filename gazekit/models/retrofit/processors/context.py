"""Context tokens that a stock processor writes behind every image and frame."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import ProcessorMixin

from gazekit.models.retrofit.processors.layers import layered


class WithContext:
    """Laid before a stock processor class: what stands for an image or a video ends in context tokens.

    Attributes:
        gaze_context: The context tokens of a unit, in order.
    """

    gaze_context: tuple[str, ...] = ()

    def replace_image_token(self, image_inputs: Any, image_idx: int, **kwargs: Any) -> str:
        """As the stock class does, with the context tokens of one unit behind it, tiles and all."""
        text: str = super().replace_image_token(image_inputs, image_idx=image_idx, **kwargs)  # type: ignore[misc]
        context = "".join(self.gaze_context)
        # Gemma 3 writes crops as images of their own, each like a whole image.
        if hasattr(self, "full_image_sequence"):
            return behind_frames(text, [self.tokenizer.image_token], context, 1)  # type: ignore[attr-defined]
        return text + context

    def replace_video_token(self, video_inputs: Any, video_idx: int, **kwargs: Any) -> str:
        """As the stock class does, with context tokens behind every frame, or behind all where frames join."""
        text: str = super().replace_video_token(video_inputs, video_idx=video_idx, **kwargs)  # type: ignore[misc]
        return behind_frames(
            text, _placeholders(self), "".join(self.gaze_context), _steps(video_inputs, video_idx)
        )


def emit_context(processor: ProcessorMixin, tokens: Sequence[str]) -> None:
    """Has a processor write context tokens from now on; by its class's name it stays what it was.

    Args:
        processor: A stock one, changed in place.
        tokens: The context tokens of a unit, which its tokenizer knows.

    Raises:
        ValueError: The processor does not write images through `replace_image_token`.
    """
    if getattr(processor, "image_token", None) is None:
        raise ValueError(
            f"processor must be one of transformers' that expand an image token, got {type(processor).__name__}; "
            "load it with gazekit.models.load_processor"
        )
    processor.__class__ = layered(type(processor), WithContext)
    setattr(processor, "gaze_context", tuple(tokens))  # noqa: B010


def behind_frames(text: str, placeholders: Sequence[str], context: str, steps: int) -> str:
    """A video's text with context tokens.

    Args:
        text: What stands for the video.
        placeholders: What stands for one visual token.
        context: The context tokens of a frame.
        steps: Frames that the decoder sees, where one run of placeholders holds them all.
    """
    run = re.compile(f"(?:{'|'.join(re.escape(one) for one in placeholders)})+")
    runs = len(run.findall(text))
    repeats = steps if runs == 1 else 1
    return run.sub(lambda found: found.group() + context * repeats, text)


def _placeholders(processor: Any) -> list[str]:
    named = (getattr(processor, name, None) for name in ("image_token", "video_token"))
    return [one for one in named if one is not None]


def _steps(video_inputs: Mapping[str, Any], index: int) -> int:
    """Frames of a video as the decoder sees them."""
    if "video_grid_thw" in video_inputs:
        return int(video_inputs["video_grid_thw"][index][0])
    return len(video_inputs["pixel_values_videos"][index]) if "pixel_values_videos" in video_inputs else 1
