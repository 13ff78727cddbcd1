"""The published models with every size scaled down: folders of a tower and a decoder of the same kinds, and overrides
that name them and give other numbers, nothing else."""

import json
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

from gazekit.data import Conversation, DigitsTokenizer, ManyQuestions
from gazekit.data.digits import DigitsDataset
from gazekit.models import add_tokens

STAGES = ("stage1", "stage2_image", "stage2_video")
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


def conversations(folder: Path, stage: str) -> list[str]:
    """A few rows as Cambrian has them, of images or of folders of frames; the overrides that name them."""
    root = folder / f"data-{stage}"
    root.mkdir()
    samples = DigitsDataset(split="train", plan=ManyQuestions(), length=4, seed=0)
    talks = [samples[number].conversation for number in range(4)]
    rows = [_row(root, number, talk, video="video" in stage) for number, talk in enumerate(talks)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [f"data.path={root / 'rows.jsonl'}", f"data.root={root}", "data.num_workers=0"]


def _row(root: Path, number: int, talk: Conversation, *, video: bool) -> dict:
    said = {"user": "human", "assistant": "gpt"}
    turns = [{"from": said[turn.role], "value": turn.text} for turn in talk.messages]
    turns[0]["value"] = f"<{'video' if video else 'image'}>\n{turns[0]['value']}"
    name = f"{number}"
    if not video:
        talk.images[0].save(root / f"{name}.png")
        return {"id": name, "image": f"{name}.png", "conversations": turns}
    (root / name).mkdir()
    for frame in range(5):
        talk.images[0].rotate(90 * frame).save(root / name / f"{frame}.png")
    return {"id": name, "video": name, "conversations": turns}


def few_steps(steps: int = 2) -> list[str]:
    """Overrides for a stage of few steps of few samples."""
    stage = "training.stages.0"
    return [f"{stage}.steps={steps}", f"{stage}.batch_size=2", f"{stage}.accumulate=1"]
