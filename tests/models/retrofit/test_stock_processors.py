"""Prompts that the stock processors write: their placeholders are the tokens that the layouts have."""

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    CLIPImageProcessor,
    Gemma3ImageProcessor,
    Gemma3Processor,
    Idefics3ImageProcessor,
    Idefics3Processor,
    LlavaNextImageProcessor,
    LlavaNextProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from gazekit.models.retrofit import layout_of_media
from gazekit.models.retrofit.architectures import adapter_of
from tests.models.retrofit import tiny_llava, tiny_tiles

MARKS = [
    "<pad>", "<unk>", "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", "<boi>", "<eoi>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
]  # fmt: skip
IMAGE = MARKS.index("<image>")
FORMATS = [[(30, 64)], [(64, 9), (20, 10)], [(5, 5)]]


def tokenizer() -> PreTrainedTokenizerFast:
    """One id a mark, a line break, two of them, and two words."""
    words = WordLevel(
        {word: number for number, word in enumerate([*MARKS, "\n", "\n\n", "a", "b"])}, unk_token="<unk>"
    )
    made = Tokenizer(words)
    spaces = pre_tokenizers.Split(Regex(r" +"), behavior="removed")
    breaks = pre_tokenizers.Split(Regex(r"\n+"), behavior="isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([spaces, breaks])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        pad_token="<pad>",
        padding_side="left",
        extra_special_tokens={"image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>"},
        additional_special_tokens=MARKS[3:6] + MARKS[8:],
    )


def llava():
    """A processor and a model of LLaVA-1.5."""
    edges = {"height": tiny_llava.TILE, "width": tiny_llava.TILE}
    images = CLIPImageProcessor(size={"shortest_edge": tiny_llava.TILE}, crop_size=edges)
    made = LlavaProcessor(images, tokenizer(), tiny_llava.PATCH, "default", num_additional_image_tokens=1)
    return made, tiny_llava.llava()


def llava_next():
    """A processor and a model of LLaVA-NeXT."""
    edges = {"height": tiny_llava.TILE, "width": tiny_llava.TILE}
    images = LlavaNextImageProcessor(
        size={"shortest_edge": tiny_llava.TILE},
        crop_size=edges,
        image_grid_pinpoints=tiny_llava.RESOLUTIONS,
    )
    made = LlavaNextProcessor(images, tokenizer(), tiny_llava.PATCH, "default", num_additional_image_tokens=1)
    return made, tiny_llava.llava_next()


def idefics3():
    """A processor and a model of Idefics3."""
    edge = tiny_tiles.PIXELS
    images = Idefics3ImageProcessor(size={"longest_edge": 4 * edge}, max_image_size={"longest_edge": edge})
    return Idefics3Processor(images, tokenizer(), image_seq_len=tiny_tiles.SIDE**2), tiny_tiles.idefics3()


def gemma3():
    """A processor and a model of Gemma 3."""
    edge = tiny_tiles.GEMMA_PIXELS
    images = Gemma3ImageProcessor(size={"height": edge, "width": edge})
    return Gemma3Processor(
        images, tokenizer(), image_seq_length=tiny_tiles.GEMMA_SIDE**2
    ), tiny_tiles.gemma3()


@pytest.mark.parametrize("make", [llava, llava_next, idefics3, gemma3])
def test_the_layout_fits_the_prompt_and_the_model_takes_it(make):
    processor, model = make()
    model.config.image_token_id = IMAGE
    for part in model.modules():
        if hasattr(part, "image_token_id"):
            part.image_token_id = IMAGE
    mark = "<boi>" if make is gemma3 else "<image>"
    inputs = processor(
        text=["a " + f"{mark} b " * len(sizes) for sizes in FORMATS],
        images=[[picture(*size) for size in sizes] for sizes in FORMATS],
        padding=True,
        return_tensors="pt",
    )
    adapter = adapter_of(model.config.model_type)
    given = {name: inputs[name] for name in adapter.inputs if name in inputs}
    ids, valid = inputs["input_ids"], inputs["attention_mask"] > 0
    media = adapter.media(model.config, ids, valid, given)
    layout = layout_of_media(ids, valid, media, adapter.visual_ids(model.config))
    assert layout.tokens.unit.amax(-1).flatten().tolist() == [0, 1, 0]
    with torch.no_grad():
        assert model(**inputs).logits.isfinite().all()


def test_the_marks_of_idefics3_tell_how_a_picture_was_cut():
    processor, model = idefics3()
    model.config.image_token_id = IMAGE
    inputs = processor(text="a <image> b", images=[picture(30, 64)], return_tensors="pt")
    ids = inputs["input_ids"]
    (image,) = adapter_of("idefics3").media(model.config, ids, ids >= 0, {}).images
    assert image.place[image.grid == 0].amax(0).tolist() == [
        0,
        2 * tiny_tiles.SIDE - 1,
        4 * tiny_tiles.SIDE - 1,
    ]


def picture(height: int, width: int) -> Image.Image:
    """Noise, so that no tile is taken for padding."""
    generator = np.random.default_rng(0)
    return Image.fromarray(generator.integers(0, 255, (height, width, 3), dtype=np.uint8))
