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
        compressor: None, "average" or "conv2x2".
        place_embedding: Whether learned row and column embeddings are added after the projector.
    """

    tokenizer: TokenizerSource
    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    vision_layer: int | str = -2
    image_tiles: Sequence[int] = (1, 1)
    resize: str = "squash"
    compressor: str | None = None
    place_embedding: bool = False

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
            vision_layer=self.vision_layer,
            image_tiles=list(self.image_tiles),
            resize=self.resize,
            compressor=self.compressor,
            place_embedding=self.place_embedding,
            **ids,
        )
