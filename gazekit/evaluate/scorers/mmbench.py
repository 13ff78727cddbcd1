"""MMBench, English and Chinese: options rolled, and only a question right in every roll counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from gazekit.evaluate.scorers.answers import option
from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.letters import extract_letter
from gazekit.evaluate.scorers.means import Row, accuracy, grouped, mean
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right

ROLL = 1_000_000
"""Indices of the rolls of one question differ by multiples of it; the unrolled question lies below."""

_LETTERS = "ABCDE"
# How a letter may stand as a word of its own, tried in this order.
_FORMS = ("{}.", "{},", "{}:", "{})", "{}).", "({})", "({}).", ":{}", ":{},", ":{}.", ":{})", ":{}).")
_SILENT_JUDGE = "Failed to obtain answer via API"


def lmms_static(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """A letter that stands alone, else the one option whose text is in the answer, else the shared extractor."""
    options = _options(doc)
    read = _alone(prediction) or _by_text(prediction, options) or extract_letter(prediction, sorted(options))
    return right(read == truth, read) if read else Verdict(score=0.0, parsed=False)


def lmms(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """As the static one without the extractor: lmms-eval asks a judge instead, and guesses if it is silent."""
    read = _alone(prediction) or _by_text(prediction, _options(doc))
    if read:
        return right(read == truth, read)
    if generator is None:
        return Verdict(score=0.0, parsed=False)
    guess = _LETTERS[generator.randint(0, 4)]
    return Verdict(score=1.0 if guess == truth else 0.0, answer=guess, parsed=False)


def cambrian_english(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """The first character of what follows "answer is"."""
    return _first(option(prediction), truth)


def cambrian_chinese(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """The first word; a letter in brackets is not read, since the script looks for capitals in lower case."""
    words = prediction.lower().split()
    said = words[0].rstrip(".:,") if words else ""
    if len(said) != 1 or said.upper() not in _LETTERS:
        return Verdict(score=0.0, answer=said or None, parsed=False)
    return right(said == truth.lower(), said.upper())


def lmms_figures(records: Sequence[Row]) -> dict[str, float]:
    """`gpt_eval_score`: questions right in every roll; `plain_score`: questions right unrolled. Per cent.

    The first is MMBench's CircularEval and lmms-eval's number, the second its VanillaEval. Rolls of a question that
    is not there itself count nowhere.
    """
    rolls = grouped([{**record, "question": record["index"] % ROLL} for record in records], "question")
    unrolled = [record for record in records if record["index"] < ROLL]
    whole = [all(roll["score"] == 1 for roll in rolls[record["index"]]) for record in unrolled]
    return {"gpt_eval_score": 100.0 * mean(whole), "plain_score": 100.0 * accuracy(unrolled)}


def cambrian_figures(records: Sequence[Row]) -> dict[str, float]:
    """As lmms-eval's, but `plain_score` is over all rolls, and rolls form a question whether or not it is there."""
    rolls = grouped([{**record, "question": record["index"] % ROLL} for record in records], "question")
    whole = [all(roll["score"] == 1 for roll in of_question) for of_question in rolls.values()]
    return {"gpt_eval_score": 100.0 * mean(whole), "plain_score": 100.0 * accuracy(records)}


def _first(said: str, truth: str) -> Verdict:
    """The verdict on the first character."""
    letter = said[:1].upper()
    if not letter or letter not in _LETTERS:
        return Verdict(score=0.0, answer=letter or None, parsed=False)
    return right(letter == truth.upper(), letter)


def _options(doc: Doc) -> dict[str, str]:
    """The texts of options A to D, in fields of their own or listed under `options`.

    A field that is missing reads "nan", as in lmms-eval; None and NaN are no options.
    """
    listed = dict(zip("ABCD", doc.get("options", ()), strict=False))
    texts: dict[str, Any] = listed or {letter: doc.get(letter, "nan") for letter in "ABCD"}
    return {letter: str(text) for letter, text in texts.items() if text is not None and text == text}


def _alone(prediction: str) -> str:
    """The letter that is a word of its own, if one alone is; "A" among more than three words may be an article."""
    if _SILENT_JUDGE in prediction:
        return ""
    words = prediction.split()
    there = [letter for letter in _LETTERS if letter in words]
    if len(there) == 1 and not ("A" in words and len(words) > 3):
        return there[0]
    for form in _FORMS:
        there = [letter for letter in _LETTERS if form.format(letter) in words]
        if len(there) == 1:
            return there[0]
    return ""


def _by_text(prediction: str, options: dict[str, str]) -> str:
    """The letter of the option whose text is in the prediction, if one alone is."""
    said = prediction.lower()
    there = [letter for letter, text in options.items() if text.lower() in said]
    return there[0] if len(there) == 1 else ""


MMBENCH_EN_STATIC = Benchmark(
    title="MMBench (en)",
    truth=lambda doc: doc["answer"],
    lmms=lmms_static,
    cambrian=cambrian_english,
    lmms_figures=lmms_figures,
    cambrian_figures=cambrian_figures,
    metric="gpt_eval_score",
    to_column=1.0,
)
MMBENCH_EN = replace(MMBENCH_EN_STATIC, lmms=lmms, judged=True)
MMBENCH_CN_STATIC = replace(MMBENCH_EN_STATIC, title="MMBench (cn)", cambrian=cambrian_chinese)
MMBENCH_CN = replace(MMBENCH_CN_STATIC, lmms=lmms, judged=True)
