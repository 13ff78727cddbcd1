"""Small benchmarks: rows with the columns of the real ones, and models that can be asked."""

import functools

import torch
from transformers import AddedToken

from gazekit import Gaze, GridPartition, TopKRouter, apply_gaze
from gazekit.models import CambrianProcessor
from tests.models.retrofit.qwen_small import make_qwen
from tests.models.tiny import SPECIAL, gaze_section, make_model, make_tokenizer, picture

ANSWERS = ["Yes", "No", "A", "B", "left", "red"]


def mme_rows(count: int = 6) -> list[dict]:
    """Two questions an image."""
    return [
        {
            "question_id": f"{index // 2}.jpg",
            "category": ("count", "position")[index // 4 % 2],
            "question": f"Is there row {index} read the column? Please answer yes or no.",
            "answer": ("Yes", "No")[index % 2],
            "image": picture(index // 2),
        }
        for index in range(count)
    ]


def chartqa_rows(count: int = 7) -> list[dict]:
    return [
        {
            "type": ("human_test", "augmented_test")[index % 2],
            "question": " ".join(["where is the row", *["column"] * (index % 3), f"{index}"]),
            "answer": str(index),
            "image": picture(index),
        }
        for index in range(count)
    ]


def gqa_rows(count: int = 5) -> list[dict]:
    return [
        {
            "id": f"20{index}",
            "imageId": f"n{index // 2}",
            "question": f"where is row {index}",
            "answer": ("7", "3", "system")[index % 3],
            "fullAnswer": "x",
            "image": picture(index // 2),
        }
        for index in range(count)
    ]


def mmbench_rows(count: int = 3) -> list[dict]:
    """Questions and one roll of each."""
    rows = []
    for index in range(count):
        for roll in range(2):
            first, second = ("row 1", "column 2")[:: 1 - 2 * roll]
            rows.append(
                {
                    "index": index + 1_000_000 * roll,
                    "question": f"where is {index}",
                    "hint": ("nan", "read the system")[index % 2],
                    "A": first,
                    "B": second,
                    "C": "nan",
                    "D": "nan",
                    "answer": "AB"[roll],
                    "category": "c",
                    "L2-category": "l",
                    "source": "s",
                    "split": "dev",
                    "comment": "",
                    "image": picture(index),
                }
            )
    return rows


ROWS = {"mme": mme_rows, "chartqa": chartqa_rows, "gqa": gqa_rows, "mmbench_en_dev_static": mmbench_rows}


@functools.cache
def cambrian():
    """A random Cambrian with gaze that says words of `ANSWERS` and little else, and its processor."""
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([AddedToken(word, single_word=True) for word in ANSWERS])
    sizes = {"vocab_size": len(tokenizer), "tie_word_embeddings": False}
    model = make_model(gaze=gaze_section(num_context=1), text=sizes)
    likely = torch.zeros(len(tokenizer), 1)
    likely[-len(ANSWERS) :] = 1.0
    likely[SPECIAL.index("<|im_end|>")] = 0.9
    with torch.no_grad():
        model.lm_head.weight.mul_(likely)
        # Else the last word of a prompt decides alone.
        for name, parameter in model.named_parameters():
            if name.startswith("projector"):
                parameter.mul_(10)
            elif name.startswith("language") and name.endswith(("v_proj.weight", "o_proj.weight")):
                parameter.mul_(3)
    return model, CambrianProcessor.from_config(model.config, tokenizer)


@functools.cache
def qwen():
    """A random Qwen2.5-VL that gaze was applied to, and its processor."""
    model, processor = make_qwen(sharpness=8.0)
    shown = "'<|video_pad|>' if part['type'] == 'video' else '<|image_pad|>'"
    processor.chat_template = processor.chat_template.replace("'<|image_pad|>'", shown)
    return apply_gaze(model, Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=1))), processor
