"""LLaVA-NeXT: an overview, and the picture in tiles of high resolution, without its borders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from gazekit.models.retrofit.anyres import high_resolution, overview_and_tiles, sizes_of
from gazekit.models.retrofit.media import Media


@dataclass(frozen=True)
class LlavaNextAdapter:
    """An image is one unit of two grids: the overview, then the tiles laid back on one grid, borders cut off.

    Each row of the second grid ends in a newline token. It is visual and stands in an extra column: it comes from the
    vision side, does not route as a query, and belongs to a region of its row.
    """

    inputs: tuple[str, ...] = ("image_sizes",)

    def visual_ids(self, config: PreTrainedConfig) -> tuple[int, int | None]:
        """Images only."""
        return config.image_token_id, None

    def media(
        self,
        config: PreTrainedConfig,
        input_ids: Int[Tensor, "batch token"],
        valid: Bool[Tensor, "batch token"],
        given: Mapping[str, Tensor],
    ) -> Media:
        """One image for each of `image_sizes`.

        Raises:
            ValueError: `image_sizes` is missing.
        """
        tile = config.vision_config.image_size
        side = tile // config.vision_config.patch_size
        has_images = bool(((input_ids == config.image_token_id) & valid).any())
        found = []
        for size in sizes_of(given.get("image_sizes"), has_images):
            rows, columns = high_resolution(size, config.image_grid_pinpoints, tile, side)
            found.append(overview_and_tiles(side, rows, columns))
        return Media(found)


ADAPTER = LlavaNextAdapter()
