"""Questions of knowledge and calculation: MMMU, MathVista."""

from __future__ import annotations

import ast
import re
from typing import Any

from gazekit.evaluate.benchmarks.task import (
    BLANK_LINE,
    IMAGE_MARK,
    LETTER,
    WORD,
    Form,
    Source,
    Task,
    lettered,
    marked,
)
from gazekit.evaluate.scorers import Doc

_NUMBERED = re.compile(r"<image (\d+)>")
_EXACT = {
    ("integer", None): "Answer the question using a single integer number.",
    ("float", 1): "Answer the question using a single floating-point number with one decimal place.",
    ("float", 2): "Answer the question using a single floating-point number with two decimal places.",
    ("list", None): "Answer the question using a Python list.",
}


def _mmmu_text(doc: Doc) -> str:
    if doc["question_type"] != "multiple-choice":
        return f"{doc['question']}\n\n{WORD}"
    return f"{doc['question']}\n{lettered(ast.literal_eval(doc['options']))}\n\n{LETTER}"


def _mmmu_lmms(doc: Doc) -> str:
    """Images stand where they are named, as lmms-eval asks models that chat; stretches of text lose their margins.

    One image more than is shown would be none: each name is a mark, the images are given once each, in their order.
    """
    pieces = re.split(r"<image [1-7]>", _mmmu_text(doc))
    count = len(_mmmu_images(doc))
    before = [piece.strip() for piece in pieces[:-1]][:count]
    before += [""] * (count - len(before))
    return IMAGE_MARK.join([*before, pieces[-1].strip()])


def _mmmu_images(doc: Doc) -> list[Any]:
    names = sorted({f"image_{number}" for number in _NUMBERED.findall(_mmmu_text(doc))})
    return [doc[name] for name in names]


def _mmmu_cambrian(doc: Doc) -> str:
    """Options are what stands between single quotes, so one in double quotes is lost, as in Cambrian's script."""
    said = doc["question"]
    if doc["question_type"] == "multiple-choice":
        options = re.findall(r"'(.*?)'", doc["options"])
        said = "\n".join([f"{said} Options:", *([lettered(options)] if options else []), LETTER])
    else:
        said = f"{said}\n{WORD}"
    return _NUMBERED.sub("", said).strip()


def _mmmu_first(doc: Doc) -> list[Any]:
    """The first image alone, as Cambrian's script shows."""
    return [] if doc.get("image_1") is None else [doc["image_1"]]


def _math_lmms(doc: Doc) -> str:
    """lmms-eval's "format" prompt."""
    unit = f" (Unit: {doc['unit']})" if doc.get("unit") else ""
    if doc["question_type"] == "multi_choice":
        hint = LETTER
    else:
        kind = doc["answer_type"]
        places = doc.get("precision") if kind == "float" else None
        hint = _EXACT.get((kind, None if places is None else int(places)), "")
    options = lettered(doc["choices"]) if doc["choices"] else ""
    return "\n".join(filter(None, [f"{doc['question']}{unit}", options, hint])).strip()


def _math_cambrian(doc: Doc) -> str:
    if doc["question_type"] == "multi_choice":
        return f"{doc['query']}\nFirst show your reasoning process and then give the final answer."
    return f"{doc['query']}\n{WORD}"


MMMU = Task(
    name="mmmu_val",
    source=Source(name="lmms-lab-encoder/MMMU", split="validation"),
    shown=_mmmu_images,
    forms={
        "lmms": Form(prompt=_mmmu_lmms, max_new_tokens=128, until=BLANK_LINE),
        "cambrian": Form(prompt=marked(_mmmu_cambrian), max_new_tokens=512, shown=_mmmu_first),
    },
    fields=("id", "question", "options", "question_type", "answer"),
    sample=lambda doc, place: str(doc["id"]),
)
MATHVISTA = Task(
    name="mathvista_rule",
    source=Source(name="AI4Math/MathVista", split="testmini"),
    shown=lambda doc: [doc["decoded_image"]],
    forms={
        "lmms": Form(prompt=_math_lmms, max_new_tokens=16384, until=BLANK_LINE),
        "cambrian": Form(prompt=marked(_math_cambrian), max_new_tokens=512),
    },
    fields=(
        "pid",
        "question",
        "choices",
        "unit",
        "precision",
        "answer",
        "question_type",
        "answer_type",
    ),
    sample=lambda doc, place: str(doc["pid"]),
)
