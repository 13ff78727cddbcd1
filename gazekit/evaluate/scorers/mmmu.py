"""MMMU: college questions, multiple choice and open."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from random import Random
from typing import Any

from gazekit.evaluate.scorers.answers import near, number, option, tail
from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.candidates import named_choice
from gazekit.evaluate.scorers.means import Row, accuracy, grouped
from gazekit.evaluate.scorers.verdict import Doc, Verdict, listed, right, unread

_ANNOUNCEMENTS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    r"-?\b\d{1,3}(?:,\d{3})+\b",  # with commas
    r"-?\d+(?:\.\d+)?[eE][+-]?\d+",  # with an exponent
    r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])",  # with neither
)
_SUBJECT = re.compile(r"[^_]*_(.+?)_\d+")


def lmms(prediction: str, doc: Doc, truth: Any, generator: Random | None = None) -> Verdict:
    """Multiple choice as MMMU's script reads it; open: the answer's tail, or a number in it, is or holds the truth."""
    if doc["question_type"] == "multiple-choice":
        options = _options(doc)
        letter = named_choice(prediction, options)
        if letter is None:
            return unread(list(options), truth, generator)
        return right(letter in listed(truth), letter)
    wanted = [form for answer in listed(truth) for form in _normal(str(answer))]
    matches = any(
        any(isinstance(form, str) and form in said for form in wanted)
        if isinstance(said, str)
        else said in wanted
        for said in _open_answers(prediction)
    )
    return right(matches, prediction) if prediction or matches else Verdict(score=0.0, parsed=False)


def cambrian(prediction: str, doc: Doc, truth: Any, generator: Random | None = None) -> Verdict:
    """What follows "answer is" (multiple choice: its first character): equality, or numbers within 5 per cent.

    The 5 per cent are those of what was said, not of the truth.
    """
    choice = doc["question_type"] == "multiple-choice"
    said = option(prediction)[:1] if choice else tail(prediction)
    if not said or (choice and not said.isalnum()):
        return Verdict(score=0.0, answer=said or None, parsed=False)
    wanted = [str(answer).lower() for answer in listed(truth)]
    return right(said in wanted or any(near(answer, said) for answer in wanted), said)


def figures(records: Sequence[Row]) -> dict[str, float]:
    """`mmmu_acc`: the share (0 to 1) of right answers over all subjects, to five places.

    Raises:
        ValueError: An id that does not name its subject.
    """
    subjects = grouped([{**record, "subject": subject(str(record["id"]))} for record in records], "subject")
    weighted = sum(accuracy(of_subject) * len(of_subject) for of_subject in subjects.values())
    return {"mmmu_acc": round(weighted / len(records), 5)}


def subject(sample: str) -> str:
    """The subject in a sample's id: Art_Theory of validation_Art_Theory_3.

    Raises:
        ValueError: There is none.
    """
    if not (found := _SUBJECT.fullmatch(sample)):
        raise ValueError(f"id must be SPLIT_SUBJECT_NUMBER, got {sample!r}; take MMMU's ids over as they are")
    return found[1]


def _options(doc: Doc) -> dict[str, str]:
    """Texts by letter; the data set holds the list as a string."""
    texts = ast.literal_eval(doc["options"]) if isinstance(doc["options"], str) else doc["options"]
    return {chr(ord("A") + place): text for place, text in enumerate(texts)}


def _open_answers(response: str) -> set[str | float]:
    """What an open answer may mean: the tails of its sentences, and the numbers in them."""
    tails = _tails(response.strip().strip(".").lower())
    found = [text for part in tails for form in _NUMBERS for text in re.findall(form, part)]
    return {meaning for text in [*tails, *found] for meaning in _normal(text)}


def _tails(response: str) -> list[str]:
    """Of each line that announces an answer the shortest text after an announcement; none: the whole response.

    MMMU's script splits at full stops before capitals too, in a text that has none left.
    """
    lines, tails = response.split("\n"), []
    for place, line in enumerate(lines):
        announcements = [*_ANNOUNCEMENTS, "="] if place == len(lines) - 1 else _ANNOUNCEMENTS
        after = [line.rpartition(announced)[2].strip() for announced in announcements if announced in line]
        # An empty tail is replaced by whatever comes next, a longer one only by a shorter.
        shortest = ""
        for text in after:
            if not shortest or len(text) < len(shortest):
                shortest = text
        if shortest and shortest not in list(":,.!?;'"):
            tails.append(shortest)
    return tails or [response]


def _normal(text: str) -> list[str | float]:
    """A number to two places, else lower case; one character stands between blanks, so as not to match everywhere."""
    text = text.strip()
    value = number(text.replace(",", ""))
    if value is not None:
        return [round(value, 2)]
    text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]


MMMU = Benchmark(
    title="MMMU",
    truth=lambda doc: doc["answer"],
    lmms=lmms,
    cambrian=cambrian,
    lmms_figures=figures,
    cambrian_figures=figures,
    metric="mmmu_acc",
)
