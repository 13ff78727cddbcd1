"""LLaVA-1.5: one fixed grid an image. With a Pixtral tower, rows of any number and length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from gazekit.models.retrofit.anyres import sizes_of
from gazekit.models.retrofit.media import Media, grid, joined
from gazekit.models.retrofit.tiles import alike

# Towers whose first feature is a class token; the config does not say which have one.
_CLASS_TOKEN = frozenset({"clip_vision_model", "mlcd_vision_model"})


@dataclass(frozen=True)
class LlavaAdapter:
    """Images on the grid of the tower's patches; `vision_feature_select_strategy` says whether a class token stays.

    A class token that stays (`"full"`) precedes the patches and is a grid of its own. A Pixtral tower takes images of
    any size, which `image_sizes` tells; the break ids that end its rows are text. The config alone is read: a strategy
    that is passed in a call is not seen.
    """

    inputs: tuple[str, ...] = ("pixel_values", "image_sizes")

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
        """As many images as the placeholders have room for; with Pixtral, one for each of `image_sizes`.

        Raises:
            ValueError: `image_sizes` is missing, or the strategy drops a class token that the tower does not have.
        """
        vision = config.vision_config
        mark = (input_ids == config.image_token_id) & valid
        if vision.model_type == "pixtral":
            sizes = sizes_of(given.get("image_sizes"), bool(mark.any()))
            return Media(
                [grid(height // vision.patch_size, width // vision.patch_size) for height, width in sizes]
            )
        side = vision.image_size // vision.patch_size
        image = grid(side, side)
        dropped = config.vision_feature_select_strategy == "default"
        has_class = vision.model_type in _CLASS_TOKEN
        if dropped and not has_class:
            raise ValueError(
                "vision_feature_select_strategy must be 'full' with a vision tower that has no class token, got "
                f"'default' with {vision.model_type!r}, which would drop a patch; change it in the config"
            )
        return Media(alike(mark, image if dropped or not has_class else joined([grid(1, 1), image])))


ADAPTER = LlavaAdapter()
