"""What a model is asked, and what it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gazekit.models.pictures import ImageLike


@dataclass(frozen=True, kw_only=True)
class Question:
    """A conversation for the assistant to go on with.

    Attributes:
        messages: `{"role": ..., "content": ...}`, a content being text or typed parts; the last is the user's.
        images: What the parts of type image show, in order.
        videos: The frames of each video, in order.
        timestamps: Seconds at which each frame of each video is seen; None for a video = a frame a second where the
            model must know, else no times. Empty = None for each.
        name: Tells its draws from those of other questions, where answers are sampled.

    Raises:
        ValueError: There are no messages, or times for other videos than there are.
    """

    messages: Sequence[Mapping[str, Any]]
    images: Sequence[ImageLike] = ()
    videos: Sequence[Sequence[ImageLike]] = ()
    timestamps: Sequence[Sequence[float] | None] = ()
    name: str = ""

    def __post_init__(self) -> None:
        if not self.messages or self.messages[-1].get("role") != "user":
            raise ValueError(
                f"messages must end with the user's, got {[one.get('role') for one in self.messages]}; "
                "leave the answer out"
            )
        if self.timestamps and len(self.timestamps) != len(self.videos):
            raise ValueError(
                f"timestamps must be given for each of the {len(self.videos)} videos, got {len(self.timestamps)}; "
                "None for one without"
            )

    @property
    def times(self) -> list[Sequence[float] | None]:
        """What `timestamps` says of each video."""
        return list(self.timestamps) or [None] * len(self.videos)
