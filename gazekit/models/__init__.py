"""Cambrian models (level 3): tower, compressor, projector, splice, the model and its processor."""

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor

from gazekit.models.anatomy import Anatomy, anatomy_of, config_at, sizes_of
from gazekit.models.answering import Answerer, Question, Sampling, Talk, generate
from gazekit.models.cambrian import CambrianForConditionalGeneration
from gazekit.models.carry import load_projector
from gazekit.models.compressor import (
    AverageCompressor,
    BilinearCompressor,
    ConvCompressor,
    MaxCompressor,
    UnshuffleCompressor,
)
from gazekit.models.config import CambrianConfig
from gazekit.models.join import stock_language
from gazekit.models.known import KnownText, known_text, known_vision
from gazekit.models.layout import UnitForm, layout_from_ids
from gazekit.models.pretrained import FromPretrained
from gazekit.models.processor import CambrianProcessor
from gazekit.models.projector import Projector, widened
from gazekit.models.retrofit.context import add_context_tokens
from gazekit.models.retrofit.lora import Lora
from gazekit.models.retrofit.processors import load_processor, make_processor
from gazekit.models.retrofit.source import Retrofit
from gazekit.models.saved import open_saved
from gazekit.models.scratch import Cambrian, FromScratch, TokenizerSource
from gazekit.models.splice import extract, splice, units_in
from gazekit.models.tiles import tile_grid, views
from gazekit.models.tokens import add_tokens, token_ids
from gazekit.models.tower import VisionTower
from gazekit.models.weights import StateSplit, load_parts, save_parts, split_state

AutoConfig.register(CambrianConfig.model_type, CambrianConfig)
AutoModel.register(CambrianConfig, CambrianForConditionalGeneration)
AutoModelForImageTextToText.register(CambrianConfig, CambrianForConditionalGeneration)
AutoProcessor.register(CambrianConfig, CambrianProcessor)

__all__ = [
    "Anatomy", "Answerer", "AverageCompressor", "BilinearCompressor", "Cambrian", "CambrianConfig",
    "CambrianForConditionalGeneration", "CambrianProcessor", "ConvCompressor", "FromPretrained", "FromScratch",
    "KnownText", "Lora", "MaxCompressor", "Projector", "Question", "Retrofit", "Sampling", "StateSplit", "Talk",
    "TokenizerSource", "UnitForm", "UnshuffleCompressor", "VisionTower", "add_context_tokens", "add_tokens",
    "anatomy_of", "config_at", "extract", "generate", "known_text", "known_vision", "layout_from_ids", "load_parts",
    "load_processor", "load_projector", "make_processor", "open_saved", "save_parts", "sizes_of", "splice",
    "split_state", "stock_language", "tile_grid", "token_ids", "units_in", "views", "widened",
]  # fmt: skip
