"""Tiny random Cambrian models, their tokenizer and processor; anything that tests a whole model starts here."""

import functools

import numpy as np
import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen3Config, SiglipVisionConfig

from gazekit.models import CambrianConfig, CambrianForConditionalGeneration, CambrianProcessor, token_ids

SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|context|>",
    "<unk>",
]
WORDS = [
    "system",
    "user",
    "assistant",
    "read",
    "row",
    "column",
    "where",
    "is",
    "the",
    *map(str, range(10)),
    "s",
    "<",
    ">",
    ".",
]
GAZE = {
    "partition": {"_target_": "gazekit.partition.GridPartition", "size": [1, 2, 2]},
    "route": {"_target_": "gazekit.route.TopKRouter", "k": 2},
}


def gaze_section(k: int = 2, num_context: int = 0, **fields) -> dict:
    """A section: 2 x 2 regions, top-k."""
    section = {**GAZE, "route": {**GAZE["route"], "k": k}, **fields}
    if num_context:
        section["context"] = {"_target_": "gazekit.context.LearnedContext", "num_tokens": num_context}
    return section


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, one a digit; white space is nothing."""
    model = WordLevel({word: number for number, word in enumerate([*SPECIAL, *WORDS])}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    splits = [
        pre_tokenizers.Split(Regex(r"\s+"), behavior="removed"),
        pre_tokenizers.Split(Regex(r"[0-9<>.]"), behavior="isolated"),
    ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        extra_special_tokens=SPECIAL[1:6],
    )


def text_config(kind: str = "qwen3", **fields) -> Qwen3Config | Qwen2Config:
    """Three layers, four query heads on two KV heads."""
    sizes = {
        "vocab_size": 48, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "tie_word_embeddings": True, "pad_token_id": 0, "bos_token_id": None,
        "eos_token_id": 2, "max_position_embeddings": 1024,
    }  # fmt: skip
    if kind == "qwen2":
        return Qwen2Config(**{**sizes, **fields})
    return Qwen3Config(**{**sizes, "head_dim": 8, **fields})


def vision_config(**fields) -> SiglipVisionConfig:
    """Two layers; 16-pixel images in patches of 8."""
    sizes = {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16,
        "patch_size": 8,
    }  # fmt: skip
    return SiglipVisionConfig(**{**sizes, **fields})


def make_config(
    kind: str = "qwen3", *, text: dict | None = None, vision: dict | None = None, **fields
) -> CambrianConfig:
    """Images of 2 x 2 tiles: 4 x 4 visual tokens."""
    defaults = {"image_tiles": (2, 2), "vision_layer": "last", **token_ids(make_tokenizer())}
    return CambrianConfig(
        text_config=text_config(kind, **(text or {})),
        vision_config=vision_config(**(vision or {})),
        **{**defaults, **fields},
    )


def make_model(
    kind: str = "qwen3", *, seed: int = 0, imports=(), **fields
) -> CambrianForConditionalGeneration:
    """A random model in eval mode, its weights large enough that attention is not uniform."""
    torch.manual_seed(seed)
    model = CambrianForConditionalGeneration(make_config(kind, **fields), imports=imports).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight", "embed_tokens.weight", "context.weight")):
                parameter.mul_(20)
    return model


@functools.cache
def _picture(seed: int, height: int, width: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def picture(seed: int = 0, height: int = 32, width: int = 32) -> Image.Image:
    """An image of noise."""
    return _picture(seed, height, width).copy()


def make_processor(config: CambrianConfig) -> CambrianProcessor:
    """The processor of a tiny model."""
    return CambrianProcessor.from_config(config, make_tokenizer())
