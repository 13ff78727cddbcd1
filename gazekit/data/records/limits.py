"""How much of a record is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a sample may hold, and how much of a video is shown.

    Attributes:
        images: Most images of a sample; one with more is a fault.
        pixels: Most pixels of an image or frame; a larger one is refused by its header.
        tokens: Most tokens of a sample, visual ones included. A longer one is cut behind the last whole image or frame,
            or in its text; a video that leaves no room for an answer is shown in fewer frames. None = no limit.
        fps: Frames of a video that are shown a second, as long as `frames` suffice.
        frames: Most frames of a video; of a longer one they are spread evenly.
        folder_fps: Frames a second of folders of frames, by a text in their path; others have 1. Those of Cambrian-S,
            whose rows do not say so, unless given.

    Raises:
        ValueError: A limit leaves nothing.
    """

    images: int = 64
    pixels: int = 89_478_485
    tokens: int | None = None
    fps: float = 1.0
    frames: int = 128
    folder_fps: Mapping[str, float] = field(default_factory=lambda: {"shareVideoGPTV": 2.0, "TVQA": 3.0})

    def __post_init__(self) -> None:
        for name in ("images", "pixels", "frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}; raise it")
        if self.tokens is not None and self.tokens < 2:
            raise ValueError(f"tokens must be at least 2, got {self.tokens}; null takes the limit off")
        for name, rate in (
            ("fps", self.fps),
            *((f"folder_fps[{k!r}]", v) for k, v in self.folder_fps.items()),
        ):
            if not rate > 0:
                raise ValueError(f"{name} must be above 0, got {rate}; frames are counted a second")
