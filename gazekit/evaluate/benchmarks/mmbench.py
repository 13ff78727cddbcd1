"""MMBench: one of up to five options, the options rolled."""

from __future__ import annotations

from dataclasses import replace

from gazekit.evaluate.benchmarks.task import BLANK_LINE, LETTER, Form, Source, Task, given, image, marked
from gazekit.evaluate.scorers import Doc
from gazekit.evaluate.scorers.mmbench import ROLL

_LETTER_CN = "请直接使用所提供的选项字母作为答案回答。"


def _options(doc: Doc) -> str:
    """The announcement is English in Chinese too: lmms-eval reads it from the file of the English task."""
    letters = [name for name in "ABCDE" if doc.get(name) and given(doc[name]) and doc[name] != "nan"]
    return "\n".join(["There are several options:", *(f"{name}. {doc[name]}" for name in letters)])


def _english(doc: Doc) -> str:
    hint = f"{doc['hint']} " if given(doc["hint"]) and doc["hint"] != "nan" else ""
    return f"{hint}{doc['question']} {_options(doc)}\n\n{LETTER}"


def _chinese(doc: Doc) -> str:
    """A hint that reads "nan" is shown, as lmms-eval does in Chinese alone."""
    hint = f"{doc['hint']} " if given(doc["hint"]) else ""
    return f"{hint}{doc['question']} {_options(doc)}\n\n{_LETTER_CN}"


def _cambrian(request: str, doc: Doc) -> str:
    hint = f"{doc['hint']}\n" if given(doc["hint"]) and doc["hint"] != "nan" else ""
    options = [f"{name}. {doc[name]}" for name in "ABCD" if given(doc.get(name)) and doc[name] != "nan"]
    return "\n".join([f"{hint}{doc['question']} Options:", *options, request])


ENGLISH = Task(
    name="mmbench_en_dev_static",
    source=Source(name="lmms-lab-encoder/MMBench", configs=("en",), split="dev"),
    shown=image,
    forms={
        "lmms": Form(prompt=_english, until=("ASSISTANT:",)),
        "cambrian": Form(prompt=marked(lambda doc: _cambrian(LETTER, doc)), max_new_tokens=512),
    },
    fields=(
        "index",
        "question",
        "hint",
        "A",
        "B",
        "C",
        "D",
        "E",
        "answer",
        "category",
        "L2-category",
        "source",
    ),
    sample=lambda doc, place: str(doc["index"]),
    group=lambda doc: str(doc["index"] % ROLL),
)
CHINESE = replace(
    ENGLISH,
    name="mmbench_cn_dev_static",
    source=Source(name="lmms-lab-encoder/MMBench", configs=("cn",), split="dev"),
    forms={
        "lmms": Form(prompt=_chinese, max_new_tokens=256, until=BLANK_LINE),
        "cambrian": Form(
            prompt=marked(lambda doc: _cambrian("请直接回答选项字母。", doc)), max_new_tokens=128
        ),
    },
)
