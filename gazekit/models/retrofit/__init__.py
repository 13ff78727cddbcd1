"""Gaze in Hugging Face VLMs that people already have."""

from gazekit.models.retrofit.apply import apply_gaze, remove_gaze
from gazekit.models.retrofit.context import add_context_tokens, context_rows
from gazekit.models.retrofit.lora import Lora
from gazekit.models.retrofit.media import Adapter, Media, Medium, grid, joined, layout_of_media, runs
from gazekit.models.retrofit.processors import Conversations, FrameProcessor, load_processor, make_processor
from gazekit.models.retrofit.source import Retrofit, Retrofitted
from gazekit.models.retrofit.trainable import ContextRows, TrainableRetrofit

__all__ = [
    "Adapter", "ContextRows", "Conversations", "FrameProcessor", "Lora", "Media", "Medium", "Retrofit", "Retrofitted",
    "TrainableRetrofit", "add_context_tokens", "apply_gaze", "context_rows", "grid", "joined", "layout_of_media",
    "load_processor", "make_processor", "remove_gaze", "runs",
]  # fmt: skip
