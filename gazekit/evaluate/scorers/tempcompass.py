"""TempCompass: action, direction, speed, order and change, in four forms of question, as far as rules go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import Row, accuracy, grouped, mean
from gazekit.evaluate.scorers.verdict import Doc, Verdict, right

_JUDGED = Verdict(score=0.0, parsed=False)
"""A judge would have to say; nobody does, so it is wrong, as it is in lmms-eval when its judge is silent."""

_LABELS = ("Sentence ", "Option ", "Caption ")


def multi_choice(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """The right option word for word, or a letter: bare, or at the start before a full stop or a closing bracket."""
    if prediction == truth:
        return right(True, truth[:1])
    letter = prediction[:1]
    if letter in tuple("ABCD") and (len(prediction) == 1 or prediction[1] in ".)"):
        return right(letter == truth[:1], letter)
    return _JUDGED


def yes_no(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """Yes or no at the start, whatever follows ("Nothing" is no)."""
    said = prediction.lower()
    read = next((word for word in ("yes", "no") if said.startswith(word)), None)
    return right(read == truth, read) if read else _JUDGED


def caption_matching(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """One of the question's options: its whole line, its sentence (also after "A) "), its label or its letter."""
    options = doc["question"].split("\n")[1:]
    sentences = [_part(option, 1) for option in options]
    labels = [_part(option, 0) for option in options]
    labels += [_bare(label) for label in labels]
    after = prediction.split(") ")[1] if ") " in prediction else prediction
    # The last that fits is what was meant.
    fits = [option for option in options if option == prediction]
    fits += [sentence for sentence in sentences if sentence in (prediction, after)]
    fits += [label for label in labels if label in (prediction, prediction.replace(".", ""))]
    if not fits:
        return _JUDGED
    label = truth.split(": ")[0]
    names = (truth, truth.split(":")[0], _part(truth, 1), *label.split()[1:2])
    return right(fits[-1] in names, fits[-1])


def captioning(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """A judge reads every caption in lmms-eval: without one, none is right."""
    return _JUDGED


def any_form(prediction: str, doc: Doc, truth: str, generator: Random | None = None) -> Verdict:
    """The form that the field `form` names."""
    if doc["form"] not in _FORMS:
        raise ValueError(
            f"form must be one of {tuple(_FORMS)}, got {doc['form']!r}; it is the task's last words"
        )
    return _FORMS[doc["form"]](prediction, doc, truth, generator)


def figures(records: Sequence[Row]) -> dict[str, float]:
    """Per cents of right answers: `avg_accuracy` over all and, where known, one per aspect (`dim`)."""
    aspects = grouped([record for record in records if "dim" in record], "dim")
    return {"avg_accuracy": 100.0 * accuracy(records)} | {
        f"{aspect}_accuracy": 100.0 * accuracy(of_aspect) for aspect, of_aspect in aspects.items()
    }


def figures_of_forms(records: Sequence[Row]) -> dict[str, float]:
    """`avg_accuracy`: the mean of the per cents of the forms of question that are there; and each of those.

    Neither lmms-eval nor the paper says how its one number for TempCompass comes about.
    """
    forms = {form: 100.0 * accuracy(of_form) for form, of_form in grouped(records, "form").items()}
    return {"avg_accuracy": mean(list(forms.values()))} | {
        f"{form}_accuracy": share for form, share in forms.items()
    }


def _part(option: str, place: int) -> str | None:
    """What stands before (0) or after (1) the colon of "Caption A: The man runs."; None if there is none."""
    parts = option.split(": ")
    return parts[place] if place < len(parts) else None


def _bare(label: str | None) -> str | None:
    """A label without its noun."""
    for noun in _LABELS:
        label = label.replace(noun, "") if label else label
    return label


_FORMS = {
    "multi_choice": multi_choice,
    "yes_no": yes_no,
    "caption_matching": caption_matching,
    "captioning": captioning,
}

MULTI_CHOICE = Benchmark(
    title="TempCompass",
    truth=lambda doc: doc["answer"],
    lmms=multi_choice,
    cambrian=multi_choice,
    lmms_figures=figures,
    cambrian_figures=figures,
    metric="avg_accuracy",
    to_column=1.0,
    judged=True,
)
YES_NO = replace(MULTI_CHOICE, lmms=yes_no, cambrian=yes_no)
CAPTION_MATCHING = replace(MULTI_CHOICE, lmms=caption_matching, cambrian=caption_matching)
CAPTIONING = replace(MULTI_CHOICE, truth=lambda doc: doc["mc_answer"], lmms=captioning, cambrian=captioning)
ALL_FORMS = replace(
    MULTI_CHOICE,
    truth=lambda doc: doc["mc_answer"] if doc.get("form") == "captioning" else doc["answer"],
    lmms=any_form,
    cambrian=any_form,
    lmms_figures=figures_of_forms,
    cambrian_figures=figures_of_forms,
)
