"""The vision tower: a stock SigLIP, an explicit choice of its features, and images cut into tiles."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import SiglipVisionModel

from gazekit.models.config import CambrianConfig


class VisionTower(nn.Module):
    """Pixels to a grid of features.

    Args:
        config: Names the tower, the layer, and how images are cut into tiles.
    """

    def __init__(self, config: CambrianConfig):
        super().__init__()
        self.model = SiglipVisionModel._from_config(config.vision_config)
        self.layer = config.vision_layer
        self.tiles = tuple(config.image_tiles)
        self.size = config.size
        self.patch = config.vision_config.patch_size
        own = config.vision_config.image_size
        self.stretch = any(side // tiles != own for side, tiles in zip(self.size, self.tiles, strict=True))

    def forward(self, pixels: Float[Tensor, "image 3 height width"]) -> Float[Tensor, "image row column dim"]:
        """Features of every patch, after the final norm or of an earlier block without it.

        Raises:
            ValueError: The images do not have the size that the config names.
        """
        if tuple(pixels.shape[-2:]) != self.size:
            raise ValueError(
                f"pixel_values must be images of {self.size[0]} x {self.size[1]} pixels, got "
                f"{pixels.shape[-2]} x {pixels.shape[-1]}; prepare them with CambrianProcessor"
            )
        rows, columns = self.tiles
        tiles = rearrange(pixels, "image c (r h) (s w) -> (image r s) c h w", r=rows, s=columns)
        out = self.model(
            tiles, interpolate_pos_encoding=self.stretch, output_hidden_states=self.layer != "last"
        )
        features = out.last_hidden_state if self.layer == "last" else out.hidden_states[self.layer]
        return rearrange(
            features,
            "(image r s) (y x) d -> image (r y) (s x) d",
            r=rows,
            s=columns,
            y=tiles.shape[-2] // self.patch,
        )
