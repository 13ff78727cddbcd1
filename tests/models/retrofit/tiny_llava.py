"""Tiny random LLaVA, LLaVA-NeXT and LLaVA-OneVision models and prompts for them."""

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
    Qwen2Config,
    SiglipVisionConfig,
)

IMAGE, VIDEO, VOCAB = 90, 91, 96
TILE, PATCH = 8, 2
SIDE = TILE // PATCH
RESOLUTIONS = [[8, 16], [16, 8], [16, 16], [24, 8], [8, 24]]
# Of LLaVA-OneVision: more tiles than it keeps, so that interpolation has something to do.
MORE = [*RESOLUTIONS, [8, 8], [24, 24], [8, 40], [40, 8]]

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCAB, "max_position_embeddings": 2048, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
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


def ready(model):
    """The model with weights large enough that what it sees tells in what it says."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "embed" not in name:
                weight.normal_(0, weight.shape[-1] ** -0.5)
    return model.eval()


def llava(kind: str = "clip", strategy: str = "default") -> LlavaForConditionalGeneration:
    """LLaVA-1.5: 16 tokens an image."""
    torch.manual_seed(0)
    config = LlavaConfig(
        text_config=LlamaConfig(**SIZES),
        vision_config=tower(kind),
        image_token_index=IMAGE,
        vision_feature_select_strategy=strategy,
    )
    return ready(LlavaForConditionalGeneration(config))


def llava_next() -> LlavaNextForConditionalGeneration:
    """LLaVA-NeXT: an overview of 16 tokens and up to 16 x 4, 8 x 8 or 4 x 12 and newlines."""
    torch.manual_seed(0)
    config = LlavaNextConfig(
        text_config=LlamaConfig(**SIZES),
        vision_config=tower("clip"),
        image_token_index=IMAGE,
        image_grid_pinpoints=RESOLUTIONS,
    )
    return ready(LlavaNextForConditionalGeneration(config))


def llava_onevision(most: int = 2) -> LlavaOnevisionForConditionalGeneration:
    """LLaVA-OneVision that shrinks pictures to about `most` tiles."""
    torch.manual_seed(0)
    config = LlavaOnevisionConfig(
        text_config=Qwen2Config(**SIZES),
        vision_config=tower("siglip"),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        image_grid_pinpoints=MORE,
        vision_aspect_ratio=f"anyres_max_{most}",
    )
    return ready(LlavaOnevisionForConditionalGeneration(config))


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


def padded(prompts: list[list[int]]) -> dict[str, torch.Tensor]:
    """Left-padded ids."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def with_images(model, samples: list[list[tuple[int, int]]], seed: int = 0) -> dict[str, torch.Tensor]:
    """A prompt for each sample: text, its images of the given sizes with text around each."""
    flat = [size for sample in samples for size in sample]
    media = pixels(model, flat, seed)
    if model.config.model_type == "llava_onevision":
        media["batch_num_images"] = torch.tensor([len(sample) for sample in samples])
    counts = iter(lengths(model, media))
    prompts = [[5 + index, 6, *_images(sample, counts), 8, 9] for index, sample in enumerate(samples)]
    return {**padded(prompts), **media}


def _images(sample: list[tuple[int, int]], counts) -> list[int]:
    return [
        token
        for number, _ in enumerate(sample)
        for token in [10 + number, *[IMAGE] * next(counts), 20 + number]
    ]


def with_video(model, frames: int) -> dict[str, torch.Tensor]:
    """A prompt with a video."""
    media = clips(1, frames)
    with torch.no_grad():
        count = model.get_video_features(**media, return_dict=True).pooler_output.shape[1]
    return {**padded([[5, 6, *[VIDEO] * count, 8, 9]]), **media}
