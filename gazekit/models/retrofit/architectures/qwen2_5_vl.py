"""Qwen2.5-VL: any resolution, 2 x 2 patches to a token, two frames to a step in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from gazekit.models.retrofit.media import Media, grid


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
        """One medium for each row of the grids.

        Raises:
            ValueError: A grid is missing.
        """
        merge = config.vision_config.spatial_merge_size
        found = []
        for name, number in zip(self.inputs, self.visual_ids(config), strict=True):
            if name not in given and bool(((input_ids == number) & valid).any()):
                raise ValueError(
                    f"{name} must be given with {name[:5]}s: how many tokens each has, and where they lie, follows "
                    "from it; pass what the processor returned"
                )
            sizes = given[name].tolist() if name in given else []
            found.append([grid(height // merge, width // merge, time) for time, height, width in sizes])
        return Media(images=found[0], videos=found[1])


ADAPTER = QwenAdapter()
