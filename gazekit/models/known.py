"""The towers and language models that Cambrians are made of, by their public numbers: known without a network.

Sources: `config.json` and `tokenizer_config.json` of each repository on the Hugging Face hub, as published in 2025; the
reports on Qwen2.5 (arXiv 2412.15115), Qwen3 (arXiv 2505.09388) and SigLIP 2 (arXiv 2502.14786; So400m is the shape of
Alabdulmohsin et al., arXiv 2305.13035). Where weights are read, the configs beside them count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig, PreTrainedConfig, SiglipVisionConfig

_QWEN3_4B: Mapping[str, Any] = {
    "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728,
    "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "max_position_embeddings": 40960, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
}  # fmt: skip
_QWEN2_5_7B: Mapping[str, Any] = {
    "model_type": "qwen2", "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
}  # fmt: skip
_SO400M: Mapping[str, Any] = {
    "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
    "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
}  # fmt: skip

# By name: the numbers, and how many tokens the tokenizer has, behind which new ones are added.
_TEXT: Mapping[str, tuple[Mapping[str, Any], int]] = {
    "Qwen/Qwen3-4B": (_QWEN3_4B, 151669),
    "Qwen/Qwen3-4B-Base": ({**_QWEN3_4B, "max_position_embeddings": 32768}, 151669),
    "Qwen/Qwen2.5-7B": (_QWEN2_5_7B, 151665),
    "Qwen/Qwen2.5-7B-Instruct": ({**_QWEN2_5_7B, "max_position_embeddings": 32768}, 151665),
}
_VISION: Mapping[str, Mapping[str, Any]] = {
    "google/siglip2-so400m-patch16-384": {**_SO400M, "image_size": 384, "patch_size": 16},
    "google/siglip2-so400m-patch16-512": {**_SO400M, "image_size": 512, "patch_size": 16},
}
# The tokenizers of Qwen2.5 and Qwen3 hold all but the token of context.
_QWEN_IDS: Mapping[str, int] = {
    "image_token_id": 151655, "video_token_id": 151656, "eos_token_id": 151645, "pad_token_id": 151643,
}  # fmt: skip


@dataclass(frozen=True)
class KnownText:
    """A language model by name.

    Attributes:
        config: Its numbers.
        ids: Of the tokens that prompts need, as `token_ids` of its tokenizer would say.
    """

    config: PreTrainedConfig
    ids: Mapping[str, int]


def known_text(name: str) -> KnownText | None:
    """The language model of that name on the hub, where it is one of ours."""
    if name not in _TEXT:
        return None
    fields, size = _TEXT[name]
    return KnownText(AutoConfig.for_model(**fields), {**_QWEN_IDS, "context_token_id": size})


def known_vision(name: str) -> SiglipVisionConfig | None:
    """The SigLIP tower of that name on the hub, without its head, where it is one of ours."""
    return SiglipVisionConfig(**_VISION[name], vision_use_head=False) if name in _VISION else None
