"""LLaVA-OneVision: as LLaVA-NeXT with a bound on the tiles; of several images the overviews; pooled video frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from gazekit.models.retrofit.anyres import high_resolution, overview_and_tiles, shrunk, sizes_of, with_newline
from gazekit.models.retrofit.media import Media, Medium, grid


@dataclass(frozen=True)
class LlavaOnevisionAdapter:
    """An image alone in its sample is an overview and tiles; several have the overview only; a video has pooled frames.

    Tiles are laid back on one grid, without borders, interpolated to at most about 9 tiles (`vision_aspect_ratio`),
    and each row ends in a newline token, visual, in an extra column. An overview without tiles, and a video, have one
    newline behind them: an extra column of their last row. A video is one grid, each frame a unit.
    """

    inputs: tuple[str, ...] = ("image_sizes", "batch_num_images", "pixel_values_videos")

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
        """One image for each of `image_sizes`, one video for each of `pixel_values_videos`.

        Raises:
            ValueError: `image_sizes` or `pixel_values_videos` is missing, or `batch_num_images` counts other images.
        """
        has_images, has_videos = (
            bool(((input_ids == number) & valid).any())
            for number in (config.image_token_id, config.video_token_id)
        )
        sizes = sizes_of(given.get("image_sizes"), has_images)
        alone = _alone(given.get("batch_num_images"), len(sizes))
        return Media(
            images=[_image(config, size, tiled) for size, tiled in zip(sizes, alone, strict=True)],
            videos=_videos(config, given.get("pixel_values_videos"), has_videos),
        )


def _alone(counts: Int[Tensor, " batch"] | None, images: int) -> list[bool]:
    """Whether each image is the only one of its sample; without counts all are taken to be, as transformers does."""
    if counts is None:
        return [True] * images
    alone = [count == 1 for count in counts.tolist() for _ in range(count)]
    if len(alone) != images:
        raise ValueError(
            f"batch_num_images must count the {images} images of image_sizes, got {counts.tolist()}; pass both as the "
            "processor returned them"
        )
    return alone


def _image(config: PreTrainedConfig, size: tuple[int, int], tiled: bool) -> Medium:
    tile = config.vision_config.image_size
    side = tile // config.vision_config.patch_size
    if not tiled:
        return with_newline(grid(side, side), side, side)
    rows, columns = high_resolution(size, config.image_grid_pinpoints, tile, side)
    most = int(config.vision_aspect_ratio.removeprefix("anyres_max_"))
    return overview_and_tiles(side, *shrunk(rows, columns, side, most))


def _videos(config: PreTrainedConfig, pixels: Tensor | None, has_videos: bool) -> list[Medium]:
    if pixels is None and has_videos:
        raise ValueError(
            "pixel_values_videos must be given with videos: the number of frames follows from it; pass what the "
            "processor returned"
        )
    # Half as many rows and columns, rounded up.
    side = -(-(config.vision_config.image_size // config.vision_config.patch_size) // 2)
    return (
        [] if pixels is None else [with_newline(grid(side, side, pixels.shape[1]), side, side)] * len(pixels)
    )


ADAPTER = LlavaOnevisionAdapter()
