"""InternVL: an image is a run of tiles and a thumbnail; a frame of a video is an image of one tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from gazekit.models.retrofit.media import Media
from gazekit.models.retrofit.tiles import one_image_a_run


@dataclass(frozen=True)
class InternVLAdapter:
    """A run of placeholders is an image; each of its tiles, the thumbnail last, is a grid of its own.

    How many tiles stand beside each other is known to the image processor alone: neither the inputs of the model nor
    the ids tell (6 tiles may be 2 x 3 or 3 x 2), so tiles are not laid back on one grid. The frames of a video are
    images to the model: each is a unit on a grid of its own, and no region spans two of them.
    """

    inputs: tuple[str, ...] = ("pixel_values",)

    def visual_ids(self, config: PreTrainedConfig) -> tuple[int, int | None]:
        """Frames of videos have the id of images."""
        return config.image_token_id, None

    def media(
        self,
        config: PreTrainedConfig,
        input_ids: Int[Tensor, "batch token"],
        valid: Bool[Tensor, "batch token"],
        given: Mapping[str, Tensor],
    ) -> Media:
        """One image for each run of placeholders.

        Raises:
            ValueError: A run is no multiple of a tile.
        """
        vision = config.vision_config
        side = int(vision.image_size[0] // vision.patch_size[0] * config.downsample_ratio)
        mark = (input_ids == config.image_token_id) & valid
        found = [one_image_a_run(row, side, sample) for sample, row in enumerate(mark)]
        return Media([image for images in found for image in images])


ADAPTER = InternVLAdapter()
