"""MME: is it so, yes or no?"""

from __future__ import annotations

from gazekit.evaluate.benchmarks.task import BLANK_LINE, WORD, Form, Source, Task, image, marked
from gazekit.evaluate.scorers import Doc


def _lmms(doc: Doc) -> str:
    """The data's own request is replaced."""
    return f"{doc['question'].strip().replace(' Please answer yes or no.', '')}\n{WORD}"


def _cambrian(doc: Doc) -> str:
    """The data's own request stays."""
    return f"{doc['question']}\n{WORD}"


MME = Task(
    name="mme",
    source=Source(name="lmms-lab-encoder/MME", split="test"),
    shown=image,
    forms={
        "lmms": Form(prompt=_lmms, max_new_tokens=16, until=BLANK_LINE),
        "cambrian": Form(prompt=marked(_cambrian), max_new_tokens=32),
    },
    fields=("question_id", "category", "question", "answer"),
    group=lambda doc: f"{doc['category']}/{doc['question_id']}",
    together=2,
)
