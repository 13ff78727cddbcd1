"""Gaze in Hugging Face VLMs that people already have."""

from gazekit.models.retrofit.apply import apply_gaze, remove_gaze
from gazekit.models.retrofit.media import Adapter, Media, Medium, grid, joined, layout_of_media, runs

__all__ = [
    "Adapter",
    "Media",
    "Medium",
    "apply_gaze",
    "grid",
    "joined",
    "layout_of_media",
    "remove_gaze",
    "runs",
]
