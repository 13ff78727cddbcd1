"""Questions that are answered in a few words: GQA, ChartQA, OCRBench, TextVQA."""

from __future__ import annotations

from gazekit.evaluate.benchmarks.task import BLANK_LINE, WORD, Form, Join, Source, Task, image, marked
from gazekit.evaluate.scorers import Doc


def _text_cambrian(doc: Doc) -> str:
    """With the words that an OCR system found, which lmms-eval leaves out: a different task, and easier."""
    found = ", ".join(doc["ocr_tokens"])
    return f"{doc['question']}\nReference OCR tokens:{' ' if doc['ocr_tokens'] else ''}{found}\n{WORD}"


GQA = Task(
    name="gqa",
    source=Source(
        name="lmms-lab-encoder/GQA",
        configs=("testdev_balanced_instructions",),
        split="testdev",
        join=Join(config="testdev_balanced_images", key="imageId", on="id"),
    ),
    shown=image,
    forms={
        "lmms": Form(prompt=lambda doc: f"{doc['question']}\n{WORD}", max_new_tokens=16, until=BLANK_LINE),
        "cambrian": Form(prompt=marked(lambda doc: f"{doc['question']}\n{WORD}"), max_new_tokens=128),
    },
    fields=("id", "imageId", "question", "answer"),
    sample=lambda doc, place: str(doc["id"]),
    group=lambda doc: str(doc["imageId"]),
)
CHARTQA = Task(
    name="chartqa",
    source=Source(name="lmms-lab-encoder/ChartQA", split="test"),
    shown=image,
    forms={
        "lmms": Form(
            prompt=lambda doc: f"{doc['question']}\nAnswer the question with a single word.",
            max_new_tokens=16,
            until=BLANK_LINE,
        ),
        "cambrian": Form(
            prompt=marked(
                lambda doc: f"{doc['question']}\nAnswer the question using a single number or phrase."
            ),
            max_new_tokens=128,
        ),
    },
    fields=("type", "question", "answer"),
)
OCRBENCH = Task(
    name="ocrbench",
    source=Source(name="echo840/OCRBench", split="test"),
    shown=image,
    forms={
        "lmms": Form(prompt=lambda doc: doc["question"].strip(), max_new_tokens=128, until=BLANK_LINE),
        "cambrian": Form(
            prompt=marked(lambda doc: f"{doc['question']}\nGive the short answer directly."),
            max_new_tokens=512,
        ),
    },
    fields=("dataset", "question_type", "question", "answer"),
)
TEXTVQA = Task(
    name="textvqa_val",
    source=Source(name="lmms-lab-encoder/textvqa", split="validation"),
    shown=image,
    forms={
        # capitalize() lowers all but the first letter.
        "lmms": Form(prompt=lambda doc: f"{doc['question'].capitalize()}\n{WORD}", until=("ASSISTANT:",)),
        "cambrian": Form(prompt=marked(_text_cambrian), max_new_tokens=512),
    },
    fields=("question_id", "image_id", "question", "answers"),
    sample=lambda doc, place: str(doc["question_id"]),
    group=lambda doc: str(doc.get("image_id", "")),
)
