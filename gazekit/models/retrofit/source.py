"""Describes a model that one has already, to be given gaze and trained in parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedConfig

from gazekit.models.gaze import Section, compose, section_of
from gazekit.models.readable import readable
from gazekit.models.retrofit.apply import apply_gaze
from gazekit.models.retrofit.lora import Lora
from gazekit.models.retrofit.processors.conversations import Conversations
from gazekit.models.retrofit.processors.load import load_processor
from gazekit.models.retrofit.trainable import TrainableRetrofit


@dataclass(frozen=True)
class Retrofitted:
    """A model with gaze and the processor that fits it.

    Attributes:
        model: Ready to be trained.
        processor: Prepares conversations.
    """

    model: TrainableRetrofit
    processor: Conversations


@dataclass(frozen=True, kw_only=True)
class Retrofit:
    """Describes a VLM of transformers that gaze is put into: what `model:` of a recipe names.

    Attributes:
        pretrained: Folder or hub name of a model whose architecture has an adapter.
        processor: Folder or hub name of its processor; None = where the model is.
        dtype: Type of the weights, by torch's name.
        lora: Low-rank adapters in its decoder; None = none.
    """

    pretrained: str
    processor: str | None = None
    dtype: str = "float32"
    lora: Lora | None = None

    def config(self, *, gaze: Section | None = None) -> PreTrainedConfig:
        """The config that the model will have; no weights are read.

        Args:
            gaze: The composition as a recipe writes it.
        """
        config = AutoConfig.from_pretrained(self.pretrained, trust_remote_code=False)
        config.gaze = section_of(gaze)
        return config

    def make(self, *, gaze: Section | None = None, imports: Iterable[str] = (), seed: int = 0) -> Retrofitted:
        """Loads the model and puts gaze into it; the same seed draws the same rows for new context tokens.

        Args:
            gaze: The composition as a recipe writes it.
            imports: Modules beside gazekit that the composition may name.
            seed: Seeds torch.

        Raises:
            ValueError: There is no composition, or `apply_gaze` refuses the model.
        """
        gazes = compose(gaze, imports)
        if not gazes:
            raise ValueError(
                "gaze must be given: a retrofit without it is the stock model; add a gaze section"
            )
        processor = load_processor(self.processor or self.pretrained)
        with readable(self.pretrained):
            model = AutoModelForImageTextToText.from_pretrained(self.pretrained, dtype=self.dtype)
        torch.manual_seed(seed)
        model = apply_gaze(model, gazes, processor)
        return Retrofitted(TrainableRetrofit(model, self.lora), Conversations(processor))
