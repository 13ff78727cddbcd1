"""Qwen3-VL: as Qwen2.5-VL has it, with a time stamp before each frame, so that the frames of a video stand apart."""

from gazekit.models.retrofit.architectures.qwen2_5_vl import QwenAdapter

ADAPTER = QwenAdapter()
