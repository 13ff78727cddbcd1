"""The published models with every size scaled down: folders of a tower and a decoder of the same kinds, and overrides
that name them and give other numbers, nothing else."""

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    Qwen2Config,
    Qwen3Config,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from gazekit.data import DigitsTokenizer
from gazekit.models import add_tokens

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 2048,
}  # fmt: skip


def parts(folder: Path, kind: str) -> list[str]:
    """A decoder of the kind "4b" or "7b" and a tower whose grid is the published one, 24 x 24; the overrides that name
    them."""
    torch.manual_seed(0)
    tokenizer = DigitsTokenizer().make()
    add_tokens(tokenizer)
    sizes = {**SIZES, "vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": None}
    if kind == "4b":
        text = Qwen3Config(**sizes, head_dim=8, tie_word_embeddings=True)
    else:
        text = Qwen2Config(**sizes, tie_word_embeddings=False)
    AutoModelForCausalLM.from_config(text).save_pretrained(folder / "text")
    tokenizer.save_pretrained(folder / "text")
    few = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**few, "image_size": 48, "patch_size": 2, "hidden_act": "gelu_pytorch_tanh"}
    whole = SiglipConfig(
        text_config={**few, "vocab_size": 20, "bos_token_id": 0, "eos_token_id": 1}, vision_config=vision
    )
    SiglipModel(whole).save_pretrained(folder / "vision")
    SiglipImageProcessorPil(size={"height": 48, "width": 48}).save_pretrained(folder / "vision")
    return [f"model.text={folder / 'text'}", f"model.vision={folder / 'vision'}"]


def few_steps(steps: int = 2) -> list[str]:
    """Overrides for a stage of few steps of few samples."""
    stage = "training.stages.0"
    return [f"{stage}.steps={steps}", f"{stage}.batch_size=2", f"{stage}.accumulate=1"]
