"""Trained parts read, from their own folders or from an earlier run, and joined to one model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    SiglipImageProcessorPil,
    SiglipVisionModel,
)

from gazekit.gaze import uninstall
from gazekit.models.cambrian import CambrianForConditionalGeneration
from gazekit.models.carry import between, carry
from gazekit.models.config import CambrianConfig
from gazekit.models.gaze import fit
from gazekit.models.processor import CambrianProcessor
from gazekit.models.quantize import four_bits
from gazekit.models.readable import readable
from gazekit.models.tokens import token_ids

MODEL_FOLDER = "model"
"""Where a run keeps the model that it made."""


@dataclass(frozen=True)
class Trained:
    """What a model is joined from.

    Attributes:
        tower: A SigLIP tower without its head.
        decoder: A stock decoder.
        head: Its output layer.
        text: The decoder's config, its vocabulary large enough for `ids`.
        tokenizer: The decoder's.
        images: The tower's image processor.
        ids: Of the tokens that prompts need.
        between: The weights of compressor, projector and context tokens; empty = all are new.
    """

    tower: PreTrainedModel
    decoder: nn.Module
    head: nn.Module
    text: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    images: SiglipImageProcessorPil
    ids: Mapping[str, int]
    between: Mapping[str, Tensor] = field(default_factory=dict)


def read_parts(text: str, vision: str, dtype: str, *, quantized: bool, seed: int) -> Trained:
    """A pretrained decoder and tower, and torch seeded for what is drawn.

    Args:
        text: Folder or hub name of the decoder and its tokenizer.
        vision: Folder or hub name of the tower and its image processor.
        dtype: Type of the weights, by torch's name.
        quantized: Whether the decoder is kept in four bits.
        seed: Seeds torch; rows of new tokens are drawn first.
    """
    tokenizer = AutoTokenizer.from_pretrained(text)
    more: dict[str, Any] = {"quantization_config": four_bits(dtype)} if quantized else {}
    with readable(text):
        model = AutoModelForCausalLM.from_pretrained(text, dtype=dtype, **more)
    with readable(vision):
        tower = SiglipVisionModel.from_pretrained(vision, dtype=dtype, vision_use_head=False)
    ids = token_ids(tokenizer)
    torch.manual_seed(seed)
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer))
    return Trained(
        tower=tower,
        decoder=model.get_decoder(),
        head=model.get_output_embeddings(),
        text=_plain(model.config),
        tokenizer=tokenizer,
        images=SiglipImageProcessorPil.from_pretrained(vision),
        ids=ids,
    )


def read_run(folder: Path, dtype: str, *, quantized: bool, imports: tuple[str, ...], seed: int) -> Trained:
    """The parts of a Cambrian that was trained before, and torch seeded for what is drawn.

    Args:
        folder: Of a run, or of a saved model.
        dtype: Type of the weights, by torch's name.
        quantized: Whether the decoder is kept in four bits.
        imports: Modules beside gazekit that its composition may name.
        seed: Seeds torch.

    Raises:
        ValueError: The folder holds no saved Cambrian.
    """
    place = _model_in(folder)
    kept = ("tower", "compressor", "projector", "context", "lm_head")
    more: dict[str, Any] = {"quantization_config": four_bits(dtype, kept)} if quantized else {}
    with readable(place):
        model = CambrianForConditionalGeneration.from_pretrained(place, imports=imports, dtype=dtype, **more)
    processor = CambrianProcessor.from_pretrained(place)
    ids = token_ids(processor.tokenizer)
    torch.manual_seed(seed)
    return Trained(
        tower=model.tower.model,
        decoder=model.language_model,
        head=model.lm_head,
        text=_plain(model.config.text_config),
        tokenizer=processor.tokenizer,
        images=processor.image_processor,
        ids=ids,
        between=between(model),
    )


def run_config(folder: Path) -> CambrianConfig:
    """The config of a Cambrian that was trained before.

    Raises:
        ValueError: The folder holds no saved Cambrian.
    """
    return CambrianConfig.from_pretrained(_model_in(folder))


def join(
    config: CambrianConfig, found: Trained, imports: Iterable[str], dtype: torch.dtype
) -> CambrianForConditionalGeneration:
    """Puts trained parts into a model that is only then given memory, so that no weight exists twice."""
    with torch.device("meta"):
        model = CambrianForConditionalGeneration(config, imports=imports)
    model.tower.model = found.tower
    model.language_model = found.decoder
    model.lm_head = found.head
    fit(model.language_model, model.gazes)
    new: list[nn.Module] = [
        module for module in (model.compressor, model.projector, model.context) if module is not None
    ]
    for part in new:
        part.to_empty(device="cpu").to(dtype)
        for module in part.modules():
            model._init_weights(module)
    if found.between:
        carry(model, found.between)
    return model


def stock_language(model: CambrianForConditionalGeneration) -> PreTrainedModel:
    """The decoder of a Cambrian and its output layer as a stock language model, without gaze.

    Args:
        model: Used up: it shares its weights with what is returned.
    """
    uninstall(model.language_model)
    text = model.config.text_config
    text._attn_implementation = "sdpa"
    with torch.device("meta"):
        stock = AutoModelForCausalLM.from_config(text)
    stock.model = model.language_model
    stock.lm_head = model.lm_head
    return stock


def _plain(config: PreTrainedConfig) -> PreTrainedConfig:
    """The config without a word on four bits: what is saved has plain weights."""
    plain = copy.deepcopy(config)
    for name in ("quantization_config", "_pre_quantization_dtype"):
        plain.__dict__.pop(name, None)
    return plain


def _model_in(folder: Path) -> Path:
    inner = folder / MODEL_FOLDER
    for place in (inner, folder):
        if (place / "config.json").is_file():
            return place
    raise ValueError(
        f"{folder} must be the folder of a run that has ended, or of a saved Cambrian, and holds no config.json; "
        "train the stage before this one, or name another folder by model.start"
    )
