"""Stock processors of several architectures with tokenizers of a few words."""

import functools

import numpy as np
from PIL import Image
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    Gemma3ImageProcessorPil,
    GotOcr2ImageProcessorPil,
    Idefics3ImageProcessorPil,
    LlavaOnevisionImageProcessorPil,
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2VLImageProcessorPil,
)

from gazekit.models import make_processor

QWEN = ("Qwen2VLProcessor", "Qwen2_5_VLProcessor", "Qwen3VLProcessor")
WITH_VIDEO = (*QWEN, "LlavaOnevisionProcessor", "InternVLProcessor")
ALL = (*WITH_VIDEO, "Gemma3Processor", "Idefics3Processor")

TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} : "
    "{% for part in message['content'] %}"
    "{{ part['text'] if part['type'] == 'text' else '<IMAGE>' }} "
    "{% endfor %}<eos>\n{% endfor %}{% if add_generation_prompt %}assistant : {% endif %}"
)

_VISION = {"vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>"}
_NAMED = {
    **{name: {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>", **_VISION} for name in QWEN},
    "LlavaOnevisionProcessor": {"image_token": "<image>", "video_token": "<video>"},
    "InternVLProcessor": {
        "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>", "start_image_token": "<img>",
        "end_image_token": "</img>",
    },
    "Gemma3Processor": {"boi_token": "<boi>", "eoi_token": "<eoi>", "image_token": "<soft>"},
    "Idefics3Processor": {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"},
}  # fmt: skip
_WORDS = [
    "user",
    "assistant",
    ":",
    "read",
    "row",
    "one",
    "two",
    "three",
    *map(str, range(10)),
    "Frame1:",
    "Frame2:",
]
_MARKS = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
_SMALL = {"height": 16, "width": 16}
_PIXELS = {"shortest_edge": 64, "longest_edge": 32 * 32}
_IMAGES = {
    **{name: lambda: Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, size=_PIXELS) for name in QWEN},
    "LlavaOnevisionProcessor": lambda: LlavaOnevisionImageProcessorPil(
        size=_SMALL, image_grid_pinpoints=[[16, 32], [32, 16], [32, 32]]
    ),
    "InternVLProcessor": lambda: GotOcr2ImageProcessorPil(size=_SMALL, max_patches=4),
    "Gemma3Processor": lambda: Gemma3ImageProcessorPil(size=_SMALL),
    "Idefics3Processor": lambda: Idefics3ImageProcessorPil(
        size={"longest_edge": 32}, max_image_size={"longest_edge": 16}
    ),
}
_VIDEO = {
    **{name: {"patch_size": 4, "size": _PIXELS} for name in QWEN},
    # Its limits count the pixels of all frames together.
    "Qwen3VLProcessor": {"patch_size": 4, "size": {"shortest_edge": 64, "longest_edge": 4 * 32 * 32}},
    "LlavaOnevisionProcessor": {"size": _SMALL},
    "InternVLProcessor": {"size": _SMALL},
}
_ARGUMENTS = {
    "LlavaOnevisionProcessor": {"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
    "InternVLProcessor": {"image_seq_length": 4},
    "Gemma3Processor": {"image_seq_length": 4},
    "Idefics3Processor": {"image_seq_len": 4},
}


def make_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Words parted by spaces; line breaks are words."""
    named = _NAMED[name]
    words = dict.fromkeys(
        ["<pad>", "<eos>", "<unk>", "\n", "\n\n", *_WORDS, *named.values(), *_MARKS, "<global-img>"]
    )
    model = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    spaces = pre_tokenizers.Split(Regex(" +"), behavior="removed")
    breaks = pre_tokenizers.Split(Regex("\n+"), behavior="isolated")
    model.pre_tokenizer = pre_tokenizers.Sequence([spaces, breaks])
    return PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>", extra_special_tokens=named
    )  # fmt: skip


def make_stock(name: str) -> ProcessorMixin:
    """A small processor of an architecture."""
    mark = image_mark(name)
    return make_processor(
        name,
        image_processor=_IMAGES[name](),
        tokenizer=make_tokenizer(name),
        video=_VIDEO.get(name),
        arguments={**_ARGUMENTS.get(name, {}), "chat_template": TEMPLATE.replace("<IMAGE>", mark)},
    )


def image_mark(name: str) -> str:
    """What stands for an image in a text."""
    named = _NAMED[name]
    return named.get("boi_token") or named.get("context_image_token") or named["image_token"]


def video_mark(name: str) -> str:
    """What stands for a video in a text."""
    return _NAMED[name]["video_token"]


@functools.cache
def picture(seed: int = 0, height: int = 24, width: int = 32) -> Image.Image:
    """An image of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
