"""Tiny random InternVL, Idefics3, SmolVLM and Gemma 3 models and prompts for them."""

import torch
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    Qwen2Config,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

from tests.models.retrofit.tiny_llava import IMAGE, SIZES, TOWER, padded, ready

# Ids of the marks around images and tiles; line breaks of one and of two lines.
BEGIN, END, FENCE, OVERVIEW, LINE, LINES = 80, 81, 82, 83, 84, 85
TILE_MARKS = 60  # row r, column c: 60 + 4 r + c
SIDE, PIXELS = 2, 16
BIG = {**TOWER, "image_size": PIXELS, "patch_size": 4}


def internvl() -> InternVLForConditionalGeneration:
    """InternVL: 4 tokens a tile."""
    torch.manual_seed(0)
    vision = {**BIG, "image_size": [PIXELS] * 2, "patch_size": [4, 4]}
    config = InternVLConfig(
        text_config=Qwen2Config(**SIZES),
        vision_config=vision,
        image_token_id=IMAGE,
        tie_word_embeddings=False,
    )
    return ready(InternVLForConditionalGeneration(config))


def idefics3(kind: str = "idefics3") -> Idefics3ForConditionalGeneration | SmolVLMForConditionalGeneration:
    """Idefics3 or SmolVLM: 4 tokens a tile."""
    torch.manual_seed(0)
    configs, models = (
        (Idefics3Config, Idefics3ForConditionalGeneration)
        if kind == "idefics3"
        else (SmolVLMConfig, SmolVLMForConditionalGeneration)
    )
    config = configs(
        text_config=LlamaConfig(**SIZES), vision_config=BIG, image_token_id=IMAGE, scale_factor=2
    )
    return ready(models(config))


def smolvlm() -> SmolVLMForConditionalGeneration:
    """SmolVLM: 4 tokens a tile."""
    return idefics3("smolvlm")


def gemma3(window: int = 6) -> Gemma3ForConditionalGeneration:
    """Gemma 3: 4 tokens an image; of three layers the first and last have a sliding window."""
    torch.manual_seed(0)
    text = Gemma3TextConfig(
        **{**SIZES, "num_hidden_layers": 3},
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=window,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )
    config = Gemma3Config(
        text_config=text,
        vision_config=SiglipVisionConfig(**BIG, vision_use_head=False),
        image_token_index=IMAGE,
        mm_tokens_per_image=SIDE**2,
        boi_token_index=BEGIN,
        eoi_token_index=END,
    )
    return ready(Gemma3ForConditionalGeneration(config))


def of_tiles(model, samples: list[list[tuple[int, int]]], seed: int = 0) -> dict[str, torch.Tensor]:
    """A prompt for each sample, with images of the given rows and columns of tiles; `(1, 1)` is an image not cut."""
    counts = [[_count(rows, columns) for rows, columns in sample] for sample in samples]
    prompts = [
        [5 + index, 6, *(token for size in sample for token in (7, *_written(model, *size))), 8, 9]
        for index, sample in enumerate(samples)
    ]
    inputs = padded(prompts)
    generator = torch.Generator().manual_seed(seed)
    kind = model.config.model_type
    if kind in ("idefics3", "smolvlm"):
        pixels = torch.zeros(len(samples), max(map(sum, counts)), 3, PIXELS, PIXELS)
        for index, count in enumerate(counts):
            pixels[index, : sum(count)] = torch.randn(sum(count), 3, PIXELS, PIXELS, generator=generator)
    else:
        tiles = sum(map(sum, counts)) if kind == "internvl" else sum(map(len, samples))
        pixels = torch.randn(tiles, 3, PIXELS, PIXELS, generator=generator)
    if kind == "gemma3":
        inputs["token_type_ids"] = (inputs["input_ids"] == IMAGE).long()
    return {**inputs, "pixel_values": pixels}


def of_frames(model, frames: int) -> dict[str, torch.Tensor]:
    """A prompt with a video: frames as images, a time before each."""
    made = of_tiles(model, [[(1, 1)] * frames])
    return {**made, "input_ids": made["input_ids"]}


def _count(rows: int, columns: int) -> int:
    """Tiles, with the overview of an image that was cut."""
    return 1 if rows * columns == 1 else rows * columns + 1


def _written(model, rows: int, columns: int) -> list[int]:
    """An image in a prompt."""
    tile, kind = [IMAGE] * SIDE**2, model.config.model_type
    if kind == "gemma3":
        return [LINES, BEGIN, *tile, END, LINES]
    if kind == "internvl":
        return [BEGIN, *tile * _count(rows, columns), END]
    overview = [FENCE, OVERVIEW, *tile, FENCE]
    if rows * columns == 1:
        return overview
    written: list[int] = []
    for row in range(rows):
        for column in range(columns):
            written += [FENCE, TILE_MARKS + 4 * row + column, *tile]
        written.append(LINE if row < rows - 1 else LINES)
    return written + overview
