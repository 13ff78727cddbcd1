"""Qwen2-VL: as Qwen2.5-VL has it."""

from gazekit.models.retrofit.architectures.qwen2_5_vl import QwenAdapter

ADAPTER = QwenAdapter()
