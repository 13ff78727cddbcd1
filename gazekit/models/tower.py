"""The vision tower: a stock SigLIP, an explicit choice of its features, and images cut into tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import SiglipVisionModel

from gazekit.models.config import CambrianConfig

Encode = Callable[[Tensor], Tensor]


class VisionTower(nn.Module):
    """Pixels to a grid of features.

    Args:
        config: Names the tower, the layer, and how images are cut into tiles.

    Attributes:
        model: The stock tower.
        cache: Called with frames and what encodes them, in place of that alone; None = every frame is encoded.
    """

    cache: Callable[[Tensor, Encode], Tensor] | None

    def __init__(self, config: CambrianConfig):
        super().__init__()
        self.model = SiglipVisionModel._from_config(config.vision_config)
        self.layer = config.vision_layer
        self.tiles = tuple(config.image_tiles)
        self.size = config.size
        self.patch = config.vision_config.patch_size
        self.frames = config.frames_per_unit
        own = config.vision_config.image_size
        self.stretch = any(side // tiles != own for side, tiles in zip(self.size, self.tiles, strict=True))
        self.cache = None

    def forward(
        self, pixels: Float[Tensor, "unit channel height width"]
    ) -> Float[Tensor, "frame row column dim"]:
        """Features of every patch, after the final norm or of an earlier block without it.

        Args:
            pixels: Of each unit, the channels of its frames one behind another. Frames that only repeat the unit's
                first, as those of an image do, are not encoded again.

        Raises:
            ValueError: The images do not have the size that the config names.
        """
        if tuple(pixels.shape[-2:]) != self.size:
            raise ValueError(
                f"pixel_values must be images of {self.size[0]} x {self.size[1]} pixels, got "
                f"{pixels.shape[-2]} x {pixels.shape[-1]}; prepare them with CambrianProcessor"
            )
        frames = rearrange(pixels, "unit (frame c) h w -> unit frame c h w", frame=self.frames)
        new = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
        if self.frames > 1:
            new[:, 1:] = (frames[:, 1:] != frames[:, :1]).flatten(1).any(1, keepdim=True)
        shown = frames[new]
        features = self._encode(shown) if self.cache is None else self.cache(shown, self._encode)
        # A frame that is not new takes the features of the last new one before it: its unit's first.
        return features if self.frames == 1 else features[new.flatten().cumsum(0) - 1]

    def idle_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters behind the layer that features are taken of: no loss depends on them."""
        if self.layer == "last":
            return
        # The lower end of the supported range of transformers has one more module around it.
        whole = getattr(self.model, "vision_model", self.model)
        yield from whole.post_layernorm.parameters()
        layers = whole.encoder.layers
        for block in layers[len(layers) + 1 + int(self.layer) :]:
            yield from block.parameters()

    def _encode(self, frames: Float[Tensor, "frame 3 height width"]) -> Float[Tensor, "frame row column dim"]:
        rows, columns = self.tiles
        tiles = rearrange(frames, "image c (r h) (s w) -> (image r s) c h w", r=rows, s=columns)
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
