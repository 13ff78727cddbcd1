"""Questions about videos: VideoMME, MLVU, EgoSchema, LongVideoBench, NExT-QA, TempCompass.

Cambrian's scripts know none of them; the `cambrian` profile asks as lmms-eval does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gazekit.evaluate.benchmarks.task import BLANK_LINE, LETTER, Form, Source, Task, lettered
from gazekit.evaluate.scorers import Doc

_OPTION = "\nPlease directly give the best option:"
_REQUESTS = {
    "multi_choice": _OPTION,
    "yes_no": "\nPlease answer yes or no:",
    "caption_matching": _OPTION,
}


def _forms(form: Form) -> dict[str, Form]:
    return {"lmms": form, "cambrian": form}


def _file(name: str, suffix: str = "") -> Callable[[Doc], list[Any]]:
    return lambda doc: [f"{doc[name]}{suffix}"]


def _videomme(doc: Doc) -> str:
    """Speaks of subtitles, which are not there."""
    first = (
        "Select the best answer to the following multiple-choice question based on the video and the subtitles. "
        "Respond with only the letter (A, B, C, or D) of the correct option."
    )
    return "\n".join([first, doc["question"], *doc["options"], f"\n{LETTER}"])


def _egoschema(doc: Doc) -> str:
    return "\n".join([doc["question"], *doc["option"], LETTER])


def _longvideobench(doc: Doc) -> str:
    options = [doc.get(f"option{place}") for place in range(5)]
    there = [text for text in options if text not in (None, "N/A")]
    return f"{doc['question']}\n{lettered(there)}\n{LETTER}\n"


def _nextqa(doc: Doc) -> str:
    options = [doc[f"a{place}"].strip() for place in range(5)]
    return f"{doc['question'].strip()}\n{lettered(options)}"


VIDEOMME = Task(
    name="videomme",
    kind="video",
    source=Source(name="lmms-eval/Video-MME", split="test"),
    shown=_file("videoID", ".mp4"),
    forms=_forms(Form(prompt=_videomme, max_new_tokens=16, until=BLANK_LINE)),
    fields=("videoID", "question_id", "question", "options", "answer", "duration", "domain", "task_type"),
    sample=lambda doc, place: str(doc["question_id"]),
    group=lambda doc: str(doc["videoID"]),
)
MLVU_DEV = Task(
    name="mlvu_dev",
    kind="video",
    source=Source(name="sy1998/MLVU_dev", split="test"),
    shown=_file("video_name"),
    forms=_forms(
        Form(
            prompt=lambda doc: f"{doc['question']}\nOnly give the best option.\nBest option: (",
            max_new_tokens=16,
            until=BLANK_LINE,
        )
    ),
    fields=("video_name", "question", "candidates", "answer", "task_type"),
    group=lambda doc: str(doc["video_name"]),
)
MLVU_TEST = replace(
    MLVU_DEV,
    name="mlvu_test",
    source=Source(name="sy1998/MLVU_Test", split="test"),
    forms=_forms(Form(prompt=lambda doc: doc["question"], max_new_tokens=16, until=BLANK_LINE)),
)
EGOSCHEMA = Task(
    name="egoschema_subset",
    kind="video",
    source=Source(name="lmms-eval/egoschema", configs=("Subset",), split="test"),
    shown=_file("video_idx", ".mp4"),
    forms=_forms(Form(prompt=_egoschema, max_new_tokens=16, until=BLANK_LINE)),
    fields=("question_idx", "video_idx", "question", "option", "answer"),
    group=lambda doc: str(doc["video_idx"]),
)
LONGVIDEOBENCH = Task(
    name="longvideobench_val_v",
    kind="video",
    source=Source(name="longvideobench/LongVideoBench", split="validation"),
    shown=_file("video_path"),
    forms=_forms(Form(prompt=_longvideobench, max_new_tokens=32, until=BLANK_LINE)),
    fields=(
        "id",
        "video_path",
        "question",
        *(f"option{place}" for place in range(5)),
        "correct_choice",
        "duration_group",
        "question_category",
    ),
    sample=lambda doc, place: str(doc["id"]),
    group=lambda doc: str(doc["video_path"]),
)
NEXTQA = Task(
    name="nextqa_mc_test",
    kind="video",
    source=Source(name="lmms-eval/NExTQA", configs=("MC",), split="test"),
    shown=_file("video", ".mp4"),
    forms=_forms(Form(prompt=_nextqa, until=BLANK_LINE)),
    fields=("video", "question", *(f"a{place}" for place in range(5)), "answer"),
    group=lambda doc: str(doc["video"]),
)
TEMPCOMPASS = Task(
    name="tempcompass_rule",
    kind="video",
    source=Source(
        name="lmms-eval/TempCompass",
        configs=("multi-choice", "yes_no", "caption_matching"),
        split="test",
        form=True,
    ),
    shown=_file("video_id", ".mp4"),
    forms=_forms(Form(prompt=lambda doc: f"{doc['question']}{_REQUESTS[doc['form']]}", until=BLANK_LINE)),
    fields=("video_id", "question", "answer", "dim", "form"),
    group=lambda doc: str(doc["video_id"]),
)


def _one_form(form: str, config: str) -> Task:
    return replace(
        TEMPCOMPASS,
        name=f"tempcompass_{form}_rule",
        source=Source(name="lmms-eval/TempCompass", configs=(config,), split="test"),
        forms=_forms(Form(prompt=lambda doc: f"{doc['question']}{_REQUESTS[form]}", until=BLANK_LINE)),
    )


FORMS = (
    _one_form("multi_choice", "multi-choice"),
    _one_form("yes_no", "yes_no"),
    _one_form("caption_matching", "caption_matching"),
)
"""TempCompass one form at a time. Captions need a judge, and are not asked for."""
