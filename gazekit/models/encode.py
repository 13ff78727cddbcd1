"""The way from pixels to what stands among the embeddings of words."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from gazekit.models.config import CambrianConfig
from gazekit.models.projector import Projector
from gazekit.models.tower import VisionTower


def build_projector(config: CambrianConfig) -> Projector:
    """The projector that a config asks for."""
    width = config.vision_config.hidden_size
    return Projector(
        in_dim=4 * width if config.compressor == "unshuffle" else width,
        out_dim=config.text_config.hidden_size,
        grid=config.patches if config.compressor_place == "after" else config.compressed,
        place_embedding=config.place_embedding,
        frames=config.frames_per_unit,
        newline=config.row_newlines,
    )


def encode_units(
    pixels: Float[Tensor, "unit channel height width"],
    config: CambrianConfig,
    tower: VisionTower,
    compressor: nn.Module,
    projector: Projector,
) -> Float[Tensor, "unit visual dim"]:
    """Embeddings of units, row by row.

    Args:
        pixels: Of each unit, the channels of its frames one behind another.
        config: Says in which order compressor and projector come.
        tower: Encodes each frame.
        compressor: Makes tokens fewer.
        projector: Makes embeddings of features, and one unit of its frames.
    """
    features = tower(pixels)
    if config.compressor_place == "before":
        features = compressor(features)
    beside = rearrange(features, "(unit frame) y x d -> unit y x (frame d)", frame=config.frames_per_unit)
    grid = projector(beside)
    if config.compressor_place == "after":
        grid = compressor(grid)
    return projector.close_rows(grid).flatten(1, 2)


def seen_by_guides(
    pixels: Float[Tensor, "batch unit channel height width"], config: CambrianConfig
) -> Float[Tensor, "batch unit 3 height seen_width"]:
    """What a guide lays its grid over: the first frame of each unit, and under a newline what is left of it."""
    first = pixels[:, :, :3]
    if not config.row_newlines:
        return first
    column = first.shape[-1] // config.compressed[1]
    return pad(first.flatten(0, 1), (0, column, 0, 0), mode="replicate").unflatten(0, first.shape[:2])
