"""Small benchmarks: rows with the columns of the real ones, and models that can be asked."""

import functools

from gazekit import Gaze, GridPartition, TopKRouter, apply_gaze
from tests.models.retrofit.qwen_small import make_qwen
from tests.models.tiny import gaze_section, make_model, make_processor, picture


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
    """A random Cambrian with gaze, and its processor."""
    model = make_model(gaze=gaze_section(num_context=1))
    return model, make_processor(model.config)


@functools.cache
def qwen():
    """A random Qwen2.5-VL that gaze was applied to, and its processor."""
    model, processor = make_qwen(sharpness=8.0)
    return apply_gaze(model, Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=1))), processor
