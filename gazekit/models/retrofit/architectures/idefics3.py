"""Idefics3: tiles with marks between them, then an overview."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from gazekit.models.retrofit.media import Media, Medium, grid, joined
from gazekit.models.retrofit.tiles import mosaic, one_image_a_run, tiles_by_marks


@dataclass(frozen=True)
class Idefics3Adapter:
    """An image is its tiles, laid back on one grid, and an overview on a grid of its own; the marks between are text.

    The processor drops the numbers of rows and columns, but writes them into the prompt, as marks whose ids only the
    tokenizer knows. What the marks repeat and where they stand tells rows and columns all the same
    (`gazekit.models.retrofit.tiles.tiles_by_marks`). Prompts that are written in another way have an image, a unit on
    a grid of its own, in each run of placeholders.
    """

    inputs: tuple[str, ...] = ("pixel_values",)

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
        """One image for each overview, or where the marks tell nothing, for each run of placeholders.

        Raises:
            ValueError: A run is no multiple of a tile.
        """
        vision = config.vision_config
        side = vision.image_size // vision.patch_size // config.scale_factor
        images: list[Medium] = []
        for sample, (ids, real) in enumerate(zip(input_ids, valid, strict=True)):
            tiles = tiles_by_marks(ids[real], config.image_token_id, side)
            if tiles is None:
                images += one_image_a_run((ids == config.image_token_id) & real, side, sample)
            else:
                images += [_image(rows, columns, side) for rows, columns in tiles]
        return Media(images)


def _image(rows: int, columns: int, side: int) -> Medium:
    overview = grid(side, side)
    return joined([mosaic(rows, columns, side), overview]) if rows else overview


ADAPTER = Idefics3Adapter()
