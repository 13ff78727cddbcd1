"""SmolVLM: prompts as Idefics3 writes them; a frame of a video is an image that was not cut."""

from __future__ import annotations

from gazekit.models.retrofit.architectures.idefics3 import Idefics3Adapter

ADAPTER = Idefics3Adapter()
