"""MathVista: mathematics in pictures, as far as rules go."""

from __future__ import annotations

import ast
import re
import string
import warnings
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, trunc
from random import Random
from typing import Any

from gazekit.evaluate.scorers.answers import near, number
from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import Row, accuracy
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right

_LETTERS = string.ascii_uppercase
_BARE_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:]?")
_LEADING_LETTER = re.compile(r"\(([A-Za-z])\)|([A-Z])[.:)]\s")
_ANNOUNCED_LETTER = re.compile(
    r"(?:answer|option|choice)(?:\s+is)?:?\s+\(?([A-Z])\)?(?![A-Za-z])", re.IGNORECASE
)
_NUMBER = re.compile(r"(?:(?<!\w)-)?(?:\d+(?:,\d{3}(?!\d))*(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?")
_LIST = re.compile(r"\[[^\[\]]*\]")


def lmms(prediction: str, doc: Doc, truth: str | None, generator: Random | None = None) -> Verdict:
    """What lmms-eval makes of an answer while its judge is silent.

    Read without a judge: an answer that is a choice word for word, an integer, a float. Anything else is read as "",
    which for multiple choice comes to the shortest choice: a free hit now and then. `parsed` is false then.
    """
    said = prediction.strip()
    plain = _without_judge(said, doc)
    answer = normalised("" if plain is None else plain, doc)
    matches = truth is not None and str(answer).strip() == str(truth).strip()
    return Verdict(score=1.0 if matches else 0.0, answer=answer, parsed=plain is not None)


def last_step(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """An extracted answer, normalised and compared; the judge's part is over."""
    answer = normalised(prediction, doc)
    return right(str(answer).strip() == str(truth).strip(), answer)


def rule(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """Our own reading, without a judge.

    Multiple choice: a choice word for word, a letter (alone, leading or announced), the only choice in the text.
    Numbers: the last in the text, without signs of thousands, a dash between two being no minus; floats to the doc's
    precision. Lists: the last in brackets. Others: equality but for case.
    """
    said = prediction.strip()
    if doc["question_type"] == "multi_choice":
        choice = _choice(said, list(doc["choices"]))
        return (
            Verdict(score=0.0, parsed=False)
            if choice is None
            else right(choice == str(truth).strip(), choice)
        )
    kind = doc["answer_type"]
    if kind == "list":
        found = _LIST.findall(said)
        return right(_same_lists(found[-1], truth), found[-1]) if found else Verdict(score=0.0, parsed=False)
    if kind in ("integer", "float"):
        found = _NUMBER.findall(said.replace("\N{MINUS SIGN}", "-"))
        wanted = number(str(truth))
        if not found or wanted is None:
            return Verdict(score=0.0, parsed=False)
        value = float(found[-1].replace(",", ""))
        precision = doc.get("precision")
        # None and NaN, as tables have it for what is no float.
        places = int(precision) if precision is not None and precision == precision else 0
        same = (
            trunc(value) == trunc(wanted)
            if kind == "integer" and isfinite(value)
            else round(value, places) == round(wanted, places)
        )
        return right(same, found[-1])
    return (
        right(said.lower() == str(truth).strip().lower(), said) if said else Verdict(score=0.0, parsed=False)
    )


def cambrian(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """Equality but for case, or numbers within 5 per cent of what was said; for multiple choice of the letter.

    The script cuts answers at the first full stop if the type of question is "multiple-choice", which MathVista does
    not call it ("multi_choice"): "B." is wrong.
    """
    said = prediction.lower().strip()
    choices = list(doc["choices"] or ())
    wanted = str(truth).lower()
    if doc["question_type"] == "multi_choice" and truth in choices:
        # The last of equal choices, as the script's table has it.
        wanted = _LETTERS[len(choices) - 1 - choices[::-1].index(truth)].lower()
    if doc["question_type"] == "multiple-choice":
        said = said.split(".")[0]
    if not said:
        return Verdict(score=0.0, parsed=False)
    return right(said == wanted or near(wanted, said), said)


def normalised(extraction: str, doc: Doc) -> str | None:
    """An extracted answer in the form of the truth: a choice, an integer, a float to the doc's precision.

    Multiple choice: a letter in brackets or alone, else the choice of the smallest edit distance, the first of equals.
    A precision that is no int, as the data set on the hub has it, leaves no float right: None.
    """
    if doc["question_type"] == "multi_choice":
        said, choices = extraction.strip(), list(doc["choices"])
        if lettered := re.findall(r"\(([a-zA-Z])\)", said):
            said = lettered[0].upper()
        if len(said) == 1 and said in _LETTERS[: len(choices)]:
            return choices[_LETTERS.index(said)]
        return min(choices, key=lambda choice: edit_distance(said, choice))
    try:
        if doc["answer_type"] == "integer":
            return str(int(float(extraction)))
        if doc["answer_type"] == "float":
            return str(round(float(extraction), doc.get("precision", 0)))
    except (ValueError, TypeError, OverflowError):
        return None
    return extraction


def edit_distance(first: str, second: str) -> int:
    """How many characters to add, drop or replace (Levenshtein)."""
    row = list(range(len(second) + 1))
    for place, one in enumerate(first, start=1):
        above, row[0] = row[0], place
        for column, other in enumerate(second, start=1):
            above, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, above + (one != other)),
            )
    return row[-1]


def figures(records: Sequence[Row]) -> dict[str, float]:
    """`llm_as_judge_eval`: per cent of right answers, to two places (where lmms-eval gives None, 0)."""
    return {"llm_as_judge_eval": round(100.0 * accuracy(records), 2)}


def _without_judge(said: str, doc: Doc) -> str | None:
    """What lmms-eval reads without a judge; None: a judge is asked."""
    if not said:
        return ""
    if doc["question_type"] == "multi_choice" and said in doc["choices"]:
        return said
    for kind, reads in (("integer", int), ("float", float)):
        if doc["answer_type"] == kind:
            try:
                return str(reads(said))
            except ValueError:
                return None
    return None


def _choice(said: str, choices: list[str]) -> str | None:
    """The choice that an answer means, None if it cannot be told."""
    for choice in choices:
        if said.lower() == choice.lower().strip():
            return choice.strip()
    found = _BARE_LETTER.fullmatch(said) or _LEADING_LETTER.match(f"{said} ")
    announced = _ANNOUNCED_LETTER.findall(said)
    letter = (next(filter(None, found.groups())) if found else announced[-1] if announced else "").upper()
    if letter and letter in _LETTERS[: len(choices)]:
        return choices[_LETTERS.index(letter)].strip()
    named = [
        choice.strip()
        for choice in choices
        if re.search(rf"(?<!\w){re.escape(choice.strip())}(?!\w)", said, re.IGNORECASE)
    ]
    return named[0] if len(named) == 1 else None


def _same_lists(said: str, truth: Any) -> bool:
    """Two lists as Python writes them hold the same; text that is none is compared as it stands."""
    try:
        with warnings.catch_warnings():
            # A model's text is parsed as Python, whose parser has opinions on it.
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.literal_eval(said) == ast.literal_eval(str(truth))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return said.strip() == str(truth).strip()


MATHVISTA = Benchmark(
    title="MathVista",
    truth=lambda doc: doc.get("answer"),
    lmms=lmms,
    cambrian=cambrian,
    lmms_figures=figures,
    cambrian_figures=figures,
    metric="llm_as_judge_eval",
    to_column=1.0,
    judged=True,
)
MATHVISTA_RULE = replace(MATHVISTA, lmms=rule)
MATHVISTA_LAST_STEP = replace(MATHVISTA, lmms=last_step)
