"""Cambrian models (level 3): tower, compressor, projector, splice, the model and its processor."""

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor

from gazekit.models.anatomy import Anatomy, anatomy_of, config_at, sizes_of
from gazekit.models.answer import generate
from gazekit.models.cambrian import CambrianForConditionalGeneration
from gazekit.models.compressor import AverageCompressor, ConvCompressor
from gazekit.models.config import CambrianConfig
from gazekit.models.layout import UnitForm, layout_from_ids
from gazekit.models.pretrained import FromPretrained
from gazekit.models.processor import CambrianProcessor
from gazekit.models.projector import Projector
from gazekit.models.retrofit.context import add_context_tokens
from gazekit.models.retrofit.processors import load_processor, make_processor
from gazekit.models.retrofit.source import Retrofit
from gazekit.models.saved import open_saved
from gazekit.models.scratch import Cambrian, FromScratch, TokenizerSource
from gazekit.models.splice import extract, splice, units_in
from gazekit.models.tokens import add_tokens, token_ids
from gazekit.models.tower import VisionTower
from gazekit.models.weights import StateSplit, load_parts, save_parts, split_state

AutoConfig.register(CambrianConfig.model_type, CambrianConfig)
AutoModel.register(CambrianConfig, CambrianForConditionalGeneration)
AutoModelForImageTextToText.register(CambrianConfig, CambrianForConditionalGeneration)
AutoProcessor.register(CambrianConfig, CambrianProcessor)

__all__ = [
    "Anatomy", "AverageCompressor", "Cambrian", "CambrianConfig", "CambrianForConditionalGeneration",
    "CambrianProcessor", "ConvCompressor", "FromPretrained", "FromScratch", "Projector", "Retrofit", "StateSplit",
    "TokenizerSource", "UnitForm", "VisionTower", "add_context_tokens", "add_tokens", "anatomy_of", "config_at",
    "extract", "generate", "layout_from_ids", "load_parts", "load_processor", "make_processor", "open_saved",
    "save_parts", "sizes_of", "splice", "split_state", "token_ids", "units_in",
]  # fmt: skip
