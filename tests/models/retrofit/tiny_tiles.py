"""Tiny random InternVL, Idefics3, SmolVLM and Gemma 3 models and prompts for them."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
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

from tests.models.retrofit.tiny import (
    BEGIN,
    END,
    IMAGE,
    SPECIAL,
    TEXT,
    Case,
    Image,
    Inputs,
    Piece,
    Video,
    padded,
    pixels,
    written,
)
from tests.models.retrofit.tiny_llava import TOWER, ready

# Ids of the marks around tiles, of line breaks of one and of two lines, and of the time before a frame.
FENCE, OVERVIEW, LINE, LINES, STAMP = SPECIAL[:5]
TILE_MARKS = 60  # row r, column c: 60 + 4 r + c
SIDE, PIXELS = 2, 16
BIG = {**TOWER, "image_size": PIXELS, "patch_size": 4}
# Each token of all four models is made of 8 x 8 pixels.
GEMMA_SIDE, GEMMA_PIXELS = 4, 32


def internvl() -> InternVLForConditionalGeneration:
    """InternVL: 4 tokens a tile."""
    torch.manual_seed(0)
    vision = {**BIG, "image_size": [PIXELS] * 2, "patch_size": [4, 4]}
    config = InternVLConfig(
        text_config=Qwen2Config(**TEXT),
        vision_config=vision,
        image_token_id=IMAGE,
        tie_word_embeddings=False,
    )
    return ready(InternVLForConditionalGeneration._from_config(config, attn_implementation="sdpa"))


def idefics3(kind: str = "idefics3") -> Idefics3ForConditionalGeneration | SmolVLMForConditionalGeneration:
    """Idefics3 or SmolVLM: 4 tokens a tile."""
    torch.manual_seed(0)
    configs, models = (
        (Idefics3Config, Idefics3ForConditionalGeneration)
        if kind == "idefics3"
        else (SmolVLMConfig, SmolVLMForConditionalGeneration)
    )
    config = configs(text_config=LlamaConfig(**TEXT), vision_config=BIG, image_token_id=IMAGE, scale_factor=2)
    return ready(models._from_config(config, attn_implementation="sdpa"))


def smolvlm() -> SmolVLMForConditionalGeneration:
    """SmolVLM: 4 tokens a tile."""
    return idefics3("smolvlm")


def gemma3(window: int = 6) -> Gemma3ForConditionalGeneration:
    """Gemma 3: 4 tokens an image; of three layers the first and last have a sliding window."""
    torch.manual_seed(0)
    text = Gemma3TextConfig(
        **{**TEXT, "num_hidden_layers": 3},
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=window,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )
    config = Gemma3Config(
        text_config=text,
        vision_config=SiglipVisionConfig(**{**BIG, "image_size": GEMMA_PIXELS}, vision_use_head=False),
        image_token_index=IMAGE,
        mm_tokens_per_image=GEMMA_SIDE**2,
        boi_token_index=BEGIN,
        eoi_token_index=END,
    )
    return ready(Gemma3ForConditionalGeneration._from_config(config, attn_implementation="sdpa"))


def write(kind: str, rows: Sequence[Sequence[Piece]]) -> Inputs:
    """Inputs as the processor of an architecture returns them.

    An `Image` has tiles for so many rows and columns of tokens, one tile is an image that was not cut; the frames of a
    `Video` are images that were not cut.
    """
    counts: list[list[int]] = [[] for _ in rows]

    def pictures(piece: Image | Video) -> list[tuple[int, int]]:
        if kind == "gemma3" or isinstance(piece, Video):
            return [(1, 1)] * (piece.frames if isinstance(piece, Video) else 1)
        return [(-(-piece.rows // SIDE), -(-piece.columns // SIDE))]

    def show(piece: Image | Video) -> list[int]:
        return [number for size in pictures(piece) for number in (STAMP, *_written(kind, *size))]

    for row, count in zip(rows, counts, strict=True):
        count += [_count(*size) for piece in row if not isinstance(piece, int) for size in pictures(piece)]
    inputs = padded(written(rows, show))
    if kind == "gemma3":
        inputs["token_type_ids"] = (inputs["input_ids"] == IMAGE).long()
    if total := sum(map(sum, counts)):
        edge = GEMMA_PIXELS if kind == "gemma3" else PIXELS
        values = pixels(total, 3, edge, edge)
        inputs["pixel_values"] = _apart(values, counts) if kind in ("idefics3", "smolvlm") else values
    return inputs


def of_tiles(kind: str, samples: Sequence[Sequence[tuple[int, int]]]) -> Inputs:
    """Inputs of samples that hold images of so many rows and columns of tiles."""
    return write(kind, [[1, *(Image(r * SIDE, c * SIDE) for r, c in sample), 2] for sample in samples])


def _apart(values: Tensor, counts: Sequence[Sequence[int]]) -> Tensor:
    """The tiles of each sample on an axis of their own, with black ones in place of none."""
    return pad_sequence(list(values.split([sum(count) for count in counts])), batch_first=True)


def _count(rows: int, columns: int) -> int:
    """Tiles, with the overview of an image that was cut."""
    return 1 if rows * columns == 1 else rows * columns + 1


def _written(kind: str, rows: int, columns: int) -> list[int]:
    """An image in a prompt."""
    tile = [IMAGE] * (GEMMA_SIDE if kind == "gemma3" else SIDE) ** 2
    if kind == "gemma3":
        return [LINES, BEGIN, *tile, END, LINES]
    if kind == "internvl":
        return [BEGIN, *tile * _count(rows, columns), END]
    overview = [FENCE, OVERVIEW, *tile, FENCE]
    if rows * columns == 1:
        return overview
    made: list[int] = []
    for row in range(rows):
        for column in range(columns):
            made += [FENCE, TILE_MARKS + 4 * row + column, *tile]
        made.append(LINE if row < rows - 1 else LINES)
    return made + overview


CASES = {
    "internvl": Case(build=internvl, write=partial(write, "internvl")),
    "idefics3": Case(build=idefics3, write=partial(write, "idefics3"), video=False, size=(3, 3)),
    "smolvlm": Case(build=smolvlm, write=partial(write, "smolvlm")),
    "gemma3": Case(build=gemma3, write=partial(write, "gemma3"), video=False),
}
