"""A Cambrian of any size, weights drawn at random."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from transformers import AutoConfig, PreTrainedTokenizerBase, SiglipImageProcessorPil

from gazekit.models.cambrian import CambrianForConditionalGeneration
from gazekit.models.config import CambrianConfig
from gazekit.models.gaze import Section
from gazekit.models.processor import CambrianProcessor
from gazekit.models.tokens import token_ids


@runtime_checkable
class TokenizerSource(Protocol):
    """Something that makes a tokenizer."""

    def make(self) -> PreTrainedTokenizerBase:
        """The tokenizer."""
        ...


@dataclass(frozen=True)
class Cambrian:
    """A model with the processor that fits it."""

    model: CambrianForConditionalGeneration
    processor: CambrianProcessor


@dataclass(frozen=True, kw_only=True)
class FromScratch:
    """Describes a Cambrian by its sizes alone.

    Attributes:
        tokenizer: Makes the decoder's tokenizer; the tokens that it lacks are added to it.
        text: Fields of a text config of transformers; `model_type` names the decoder, "qwen3" by default.
        vision: Fields of a SigLIP vision config.
        vision_layer: Which features of the tower (`CambrianConfig`).
        image_tiles: Rows and columns of tiles that an image is cut into.
        resize: "squash" or "pad".
        compressor: None, "average", "max", "bilinear", "conv2x2" or "unshuffle" (`CambrianConfig` says what these and
            the following mean).
        compressor_grid: Rows and columns that the first three of them leave; None = half of each.
        compressor_place: "before" the projector or "after" it.
        frames_per_unit: Frames of a video that become one unit.
        place_embedding: Whether learned row and column embeddings are added after the projector.
        row_newlines: Whether every row ends in a learned newline.
        max_tiles: Most tiles of an image of high resolution (anyres); 0 = none.
        time_stamps: How times of frames are written: "seconds", "clock" or None.
    """

    tokenizer: TokenizerSource
    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    vision_layer: int | str = -2
    image_tiles: Sequence[int] = (1, 1)
    resize: str = "squash"
    compressor: str | None = None
    compressor_grid: int | Sequence[int] | None = None
    compressor_place: str = "before"
    frames_per_unit: int = 1
    place_embedding: bool = False
    row_newlines: bool = False
    max_tiles: int = 0
    time_stamps: str | None = "seconds"

    def make(self, *, gaze: Section | None = None, imports: Iterable[str] = (), seed: int = 0) -> Cambrian:
        """Draws the weights; the same seed gives the same ones.

        Args:
            gaze: The composition as a recipe writes it; None = dense.
            imports: Modules beside gazekit that the composition may name.
            seed: Seeds torch.

        Raises:
            ValueError: What `CambrianConfig` refuses.
        """
        tokenizer = self.tokenizer.make()
        config = self._config(tokenizer, gaze)
        torch.manual_seed(seed)
        model = CambrianForConditionalGeneration(config, imports=imports)
        size = dict(zip(("height", "width"), config.size, strict=True))
        return Cambrian(
            model, CambrianProcessor.from_config(config, tokenizer, SiglipImageProcessorPil(size=size))
        )

    def config(self, *, gaze: Section | None = None) -> CambrianConfig:
        """What `make` gives the model, without drawing weights.

        Args:
            gaze: As for `make`.

        Raises:
            ValueError: What `CambrianConfig` refuses.
        """
        return self._config(self.tokenizer.make(), gaze)

    def _config(self, tokenizer: PreTrainedTokenizerBase, gaze: Section | None) -> CambrianConfig:
        ids = token_ids(tokenizer)
        known = {"vocab_size": len(tokenizer)} | {
            name: ids[name] for name in ("eos_token_id", "pad_token_id")
        }
        return CambrianConfig(
            text_config=AutoConfig.for_model(**{"model_type": "qwen3", **known, **self.text}),
            vision_config=AutoConfig.for_model("siglip_vision_model", **self.vision),
            gaze=gaze if gaze is None or isinstance(gaze, Mapping) else list(gaze),
            **shape_fields(self),
            **ids,
        )


def shape_fields(source: Any) -> dict[str, Any]:
    """Of what describes a Cambrian, the fields that its config has under the same names."""
    names = (
        "vision_layer", "image_tiles", "resize", "compressor", "compressor_grid", "compressor_place", "frames_per_unit",
        "place_embedding", "row_newlines", "max_tiles", "time_stamps",
    )  # fmt: skip
    given = {name: getattr(source, name) for name in names}
    plain = (str, int, type(None))
    return {name: value if isinstance(value, plain) else list(value) for name, value in given.items()}
