"""Processors of stock architectures: opened without torchvision, context tokens behind every unit, conversations."""

from gazekit.models.retrofit.processors.conversations import Conversations
from gazekit.models.retrofit.processors.frames import FrameProcessor
from gazekit.models.retrofit.processors.load import load_processor, make_processor

__all__ = ["Conversations", "FrameProcessor", "load_processor", "make_processor"]
