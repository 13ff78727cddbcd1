"""Questions with options that are written below them: MMVP, CV-Bench, ScienceQA, RealWorldQA."""

from __future__ import annotations

import re
from dataclasses import replace

from gazekit.evaluate.benchmarks.task import BLANK_LINE, LETTER, Form, Source, Task, image, lettered, marked
from gazekit.evaluate.scorers import Doc

_OPTION = re.compile(r"\([a-z]\)\s*([^(]+?)(?=\s*\([a-z]\)|$)", re.IGNORECASE)
_LETTER_ALONE = (
    "Please answer directly with only the letter of the correct option and nothing else."  # Cambrian's
)


def _mmvp_options(doc: Doc) -> list[str]:
    """The two of "(a) this (b) that"."""
    said = doc["Options"]
    return [text.strip() for text in _OPTION.findall(said)] if isinstance(said, str) else list(said)


def _mmvp_cambrian(doc: Doc) -> str:
    parts = [part.strip().replace("(a)", "A.") for part in doc["Options"].split("(b)")]
    if len(parts) > 1:
        parts[1] = f"B. {parts[1]}"
    return "\n".join([f"{doc['Question']} Options:", *parts, LETTER])


def _cv_bench(doc: Doc) -> str:
    letters = ", ".join(chr(ord("A") + place) for place in range(len(doc["choices"])))
    note = f"Note: You only need to respond with {letters} without providing any additional information.\n"
    return f"{note}\n{doc['prompt']}"


def _science(doc: Doc) -> str:
    context = f"Context: {doc['hint']}\n" if doc["hint"] else ""
    return f"{context}{doc['question']}\n{lettered(doc['choices'])}\n{LETTER}"


def _science_cambrian(doc: Doc) -> str:
    hint = f"{doc['hint']} " if doc["hint"] else ""
    return f"{hint}{doc['question']}\n{lettered(doc['choices'])}\n{_LETTER_ALONE}"


MMVP = Task(
    name="mmvp",
    source=Source(name="lmms-lab-eval/MMVP", split="train"),
    shown=image,
    forms={
        "lmms": Form(
            prompt=lambda doc: f"{doc['Question']}\n{lettered(_mmvp_options(doc))}\n{LETTER}",
            max_new_tokens=16,
            until=BLANK_LINE,
        ),
        "cambrian": Form(prompt=marked(_mmvp_cambrian), max_new_tokens=512),
    },
    fields=("Index", "Question", "Options", "Correct Answer"),
    sample=lambda doc, place: str(doc["Index"]),
    group=lambda doc: str((int(doc["Index"]) - 1) // 2),
    together=2,
)
REALWORLDQA = Task(
    name="realworldqa",
    source=Source(name="lmms-lab-encoder/RealWorldQA", split="test"),
    shown=image,
    forms={
        "lmms": Form(prompt=lambda doc: doc["question"].strip(), max_new_tokens=16, until=BLANK_LINE),
        # Cambrian's script declares a request to append, and never appends it.
        "cambrian": Form(prompt=marked(lambda doc: doc["question"]), max_new_tokens=512),
    },
    fields=("question", "answer"),
)
CV_BENCH_ADE = Task(
    name="cv_bench_ade",
    source=Source(name="nyu-visionx/CV-Bench", configs=("2D",), split="test", only=("source", "ADE20K")),
    shown=image,
    forms={
        "lmms": Form(prompt=_cv_bench, until=BLANK_LINE),
        "cambrian": Form(prompt=marked(lambda doc: f"{doc['prompt']}\n{LETTER}"), max_new_tokens=512),
    },
    fields=("idx", "type", "task", "source", "prompt", "choices", "answer"),
    sample=lambda doc, place: str(doc["idx"]),
)
CV_BENCH_OMNI3D = replace(
    CV_BENCH_ADE,
    name="cv_bench_omni3d",
    source=Source(name="nyu-visionx/CV-Bench", configs=("3D",), split="test", only=("source", "Omni3D")),
)
SCIENCEQA = Task(
    name="scienceqa_img",
    source=Source(name="lmms-lab-encoder/ScienceQA", configs=("ScienceQA-IMG",), split="test"),
    shown=image,
    forms={
        "lmms": Form(prompt=_science, max_new_tokens=16, until=BLANK_LINE),
        "cambrian": Form(prompt=marked(_science_cambrian), max_new_tokens=512),
    },
    fields=("hint", "question", "choices", "answer"),
)
