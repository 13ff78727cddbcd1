"""A Cambrian out of parts that others have trained: a SigLIP tower and a Qwen decoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from gazekit.models.cambrian import CambrianForConditionalGeneration
from gazekit.models.config import CambrianConfig
from gazekit.models.gaze import Section, fit, section_of
from gazekit.models.processor import CambrianProcessor
from gazekit.models.scratch import Cambrian
from gazekit.models.tokens import token_ids


@dataclass(frozen=True, kw_only=True)
class FromPretrained:
    """Describes a Cambrian by a pretrained tower and decoder; what lies between them is drawn at random.

    Attributes:
        text: Folder or hub name of a Qwen3 or Qwen2 language model, tokenizer included.
        vision: Folder or hub name of a SigLIP model, image processor included.
        dtype: Type of the weights, by torch's name.
        vision_layer: Which features of the tower (`CambrianConfig`).
        image_size: Height and width of an image in pixels; None = the tower's own, times `image_tiles`.
        image_tiles: Rows and columns of tiles that an image is cut into.
        resize: "squash" or "pad".
        compressor: None, "average" or "conv2x2".
        place_embedding: Whether learned row and column embeddings are added after the projector.
    """

    text: str
    vision: str
    dtype: str = "float32"
    vision_layer: int | str = -2
    image_size: int | Sequence[int] | None = None
    image_tiles: Sequence[int] = (1, 1)
    resize: str = "squash"
    compressor: str | None = None
    place_embedding: bool = False

    def make(self, *, gaze: Section | None = None, imports: Iterable[str] = (), seed: int = 0) -> Cambrian:
        """Loads the parts and draws the rest; the same seed gives the same weights.

        Args:
            gaze: The composition as a recipe writes it; None = dense.
            imports: Modules beside gazekit that the composition may name.
            seed: Seeds torch.

        Raises:
            ValueError: What `CambrianConfig` refuses.
        """
        tokenizer = AutoTokenizer.from_pretrained(self.text)
        decoder = AutoModelForCausalLM.from_pretrained(self.text, dtype=self.dtype)
        tower = SiglipVisionModel.from_pretrained(self.vision, dtype=self.dtype, vision_use_head=False)
        ids = token_ids(tokenizer)
        torch.manual_seed(seed)
        if len(tokenizer) > decoder.config.vocab_size:
            decoder.resize_token_embeddings(len(tokenizer))
        config = self._config(decoder.config, tower.config, ids, gaze)
        model = _join(config, tower, decoder, imports)
        images = SiglipImageProcessorPil.from_pretrained(self.vision)
        return Cambrian(model, CambrianProcessor.from_config(config, tokenizer, images))

    def config(self, *, gaze: Section | None = None) -> CambrianConfig:
        """What `make` gives the model, from the configs and the tokenizer alone: no weights are read.

        Args:
            gaze: As for `make`.

        Raises:
            ValueError: What `CambrianConfig` refuses.
        """
        tokenizer = AutoTokenizer.from_pretrained(self.text)
        text = AutoConfig.from_pretrained(self.text)
        vision = SiglipVisionConfig.from_pretrained(self.vision, vision_use_head=False)
        ids = token_ids(tokenizer)
        text.vocab_size = max(text.vocab_size, len(tokenizer))
        return self._config(text, vision, ids, gaze)

    def _config(
        self,
        text: PreTrainedConfig,
        vision: PreTrainedConfig,
        ids: Mapping[str, int],
        gaze: Section | None,
    ) -> CambrianConfig:
        size = self.image_size
        return CambrianConfig(
            text_config=text,
            vision_config=vision,
            gaze=section_of(gaze),
            vision_layer=self.vision_layer,
            image_size=size if size is None or isinstance(size, int) else list(size),
            image_tiles=list(self.image_tiles),
            resize=self.resize,
            compressor=self.compressor,
            place_embedding=self.place_embedding,
            **ids,
        )


def _join(
    config: CambrianConfig,
    tower: PreTrainedModel,
    decoder: PreTrainedModel,
    imports: Iterable[str],
) -> CambrianForConditionalGeneration:
    """Puts trained parts into a model that is only then given memory, so that no weight exists twice."""
    with torch.device("meta"):
        model = CambrianForConditionalGeneration(config, imports=imports)
    model.tower.model = tower
    model.language_model = decoder.get_decoder()
    model.lm_head = decoder.get_output_embeddings()
    fit(model.language_model, model.gazes)
    new: list[nn.Module] = [
        module for module in (model.compressor, model.projector, model.context) if module is not None
    ]
    for part in new:
        part.to_empty(device="cpu").to(decoder.dtype)
        for module in part.modules():
            model._init_weights(module)
    return model
