"""Tiny random LLaVA, LLaVA-NeXT and LLaVA-OneVision models and prompts for them."""

from collections.abc import Callable, Sequence

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PixtralVisionConfig,
    PreTrainedModel,
    Qwen2Config,
    SiglipVisionConfig,
)

from tests.models.retrofit.tiny import (
    IMAGE,
    TEXT,
    VIDEO,
    Case,
    Image,
    Inputs,
    Piece,
    Video,
    finished,
    padded,
    written,
)

TILE, PATCH = 8, 2
SIDE = TILE // PATCH
RESOLUTIONS = [[8, 16], [16, 8], [16, 16], [24, 8], [8, 24]]
# Of LLaVA-OneVision: more tiles than it keeps, so that interpolation has something to do.
MORE = [*RESOLUTIONS, [8, 8], [24, 24], [8, 40], [40, 8]]

TOWER = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": TILE, "patch_size": PATCH,
}  # fmt: skip


def tower(kind: str):
    """A vision config by name."""
    if kind == "pixtral":
        return PixtralVisionConfig(**{**TOWER, "image_size": 32, "head_dim": 8})
    if kind == "clip":
        return CLIPVisionConfig(**TOWER)
    return SiglipVisionConfig(**TOWER, vision_use_head=False)


def ready(model: PreTrainedModel) -> PreTrainedModel:
    """A sharp decoder, and a tower whose images differ enough to tell."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and name.split(".")[1] not in ("language_model", "text_model"):
                weight.normal_(0, weight[0].numel() ** -0.5)
    return finished(model)


def llava(kind: str = "clip", strategy: str = "default") -> LlavaForConditionalGeneration:
    """LLaVA-1.5: 16 tokens an image."""
    torch.manual_seed(0)
    config = LlavaConfig(
        text_config=LlamaConfig(**TEXT),
        vision_config=tower(kind),
        image_token_index=IMAGE,
        vision_feature_select_strategy=strategy,
    )
    return ready(LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa"))


def llava_next() -> LlavaNextForConditionalGeneration:
    """LLaVA-NeXT: an overview of 16 tokens and up to 16 x 4, 8 x 8 or 4 x 12 and newlines."""
    torch.manual_seed(0)
    config = LlavaNextConfig(
        text_config=LlamaConfig(**TEXT),
        vision_config=tower("clip"),
        image_token_index=IMAGE,
        image_grid_pinpoints=RESOLUTIONS,
    )
    return ready(LlavaNextForConditionalGeneration._from_config(config, attn_implementation="sdpa"))


def llava_onevision(most: int = 2) -> LlavaOnevisionForConditionalGeneration:
    """LLaVA-OneVision that shrinks pictures to about `most` tiles."""
    torch.manual_seed(0)
    config = LlavaOnevisionConfig(
        text_config=Qwen2Config(**TEXT),
        vision_config=tower("siglip"),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        image_grid_pinpoints=MORE,
        vision_aspect_ratio=f"anyres_max_{most}",
    )
    return ready(LlavaOnevisionForConditionalGeneration._from_config(config, attn_implementation="sdpa"))


def pixels(model, images: list[tuple[int, int]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random images of the given `(height, width)` as the model takes them."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor(images)
    if model.config.model_type == "llava":
        if model.config.vision_config.model_type != "pixtral":
            return {"pixel_values": torch.randn(len(images), 3, TILE, TILE, generator=generator)}
        height, width = (max(edge) for edge in zip(*images, strict=True))
        padded = torch.randn(len(images), 3, height, width, generator=generator)
        return {"pixel_values": padded, "image_sizes": sizes}
    tiles = 1 + max(height * width for height, width in model.config.image_grid_pinpoints) // TILE**2
    made = torch.randn(len(images), tiles, 3, TILE, TILE, generator=generator)
    return {"pixel_values": made, "image_sizes": sizes}


def clips(videos: int, frames: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random videos for LLaVA-OneVision."""
    generator = torch.Generator().manual_seed(seed)
    return {"pixel_values_videos": torch.randn(videos, frames, 3, TILE, TILE, generator=generator)}


def lengths(model, media: dict[str, torch.Tensor]) -> list[int]:
    """How many tokens the stock model itself makes of each image."""
    with torch.no_grad():
        return [len(image) for image in model.get_image_features(**media, return_dict=True).pooler_output]


def write(model: PreTrainedModel, rows: Sequence[Sequence[Piece]]) -> Inputs:
    """Inputs as the processors return them, with as many placeholders as the stock model has features.

    An `Image` is a picture of so many patches in height and width; the frames of a `Video` have the size of a tile.
    """
    images, videos = (
        [piece for row in rows for piece in row if isinstance(piece, kind)] for kind in (Image, Video)
    )
    media: Inputs = {}
    counts = {Image: iter(()), Video: iter(())}
    if images:
        media = pixels(model, [(PATCH * one.rows, PATCH * one.columns) for one in images])
        if model.config.model_type == "llava_onevision":
            media["batch_num_images"] = torch.tensor(
                [sum(isinstance(one, Image) for one in row) for row in rows]
            )
        counts[Image] = iter(lengths(model, media))
    if videos:
        media |= clips(len(videos), videos[0].frames)
        with torch.no_grad():
            made = model.get_video_features(media["pixel_values_videos"], return_dict=True).pooler_output
        counts[Video] = iter([made.shape[1]] * len(videos))
    ids = {Image: IMAGE, Video: VIDEO}
    return padded(written(rows, lambda piece: [ids[type(piece)]] * next(counts[type(piece)]))) | media


def case(build: Callable[[], PreTrainedModel], video: bool = False) -> Case:
    """The case of a model; the one that counts features is another of the same weights."""
    return Case(build=build, write=lambda rows: write(build(), rows), video=video)


CASES = {
    "llava": case(llava),
    "llava with a class token": case(lambda: llava("clip", "full")),
    "llava with pixtral": case(lambda: llava("pixtral", "full")),
    "llava_next": case(llava_next),
    "llava_onevision": case(llava_onevision, video=True),
}
