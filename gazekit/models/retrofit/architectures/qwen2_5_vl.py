"""Qwen2.5-VL: any resolution, 2 x 2 patches to a token, two frames to a step in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from gazekit.models.retrofit.media import Media, Medium, grid


@dataclass(frozen=True)
class QwenAdapter:
    """Images and videos as `image_grid_thw` and `video_grid_thw` have them, in patches (t, height, width).

    Tokens stand row by row, frame by frame; text (a time stamp) may stand between frames. A unit is an image, or one
    step in time of a video.
    """

    inputs: tuple[str, ...] = ("image_grid_thw", "video_grid_thw")

    def visual_ids(self, config: PreTrainedConfig) -> tuple[int, int | None]:
        """As the config names them."""
        return config.image_token_id, config.video_token_id

    def media(
        self,
        config: PreTrainedConfig,
        input_ids: Int[Tensor, "batch token"],
        valid: Bool[Tensor, "batch token"],
        given: Mapping[str, Tensor],
    ) -> Media:
        """One medium for each row of the grids."""
        merge = config.vision_config.spatial_merge_size
        return Media(
            images=_grids(given.get("image_grid_thw"), merge),
            videos=_grids(given.get("video_grid_thw"), merge),
        )


def _grids(sizes: Int[Tensor, "medium 3"] | None, merge: int) -> list[Medium]:
    return [] if sizes is None else [grid(h // merge, w // merge, t) for t, h, w in sizes.tolist()]


ADAPTER = QwenAdapter()
