"""EgoSchema: five options about three minutes of a day."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import SupportsIndex

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.candidates import pad, texts_in
from gazekit.evaluate.scorers.means import Row, accuracy
from gazekit.evaluate.scorers.verdict import Doc, Verdict, letter_of, right, unread

_LETTERS = "ABCDE"


def truth(doc: Doc) -> str:
    """The number of the right option, from 0.

    Raises:
        ValueError: The doc is of the full set, whose answers are not public.
    """
    if doc["answer"] in (None, ""):
        raise ValueError(
            f"doc must have an answer, got {doc['answer']!r}: those of the full EgoSchema are not public; score "
            "egoschema_subset, or send the predictions to the benchmark's server"
        )
    return str(doc["answer"])


def judge(prediction: str, doc: Doc, truth: SupportsIndex | str, generator: Random | None = None) -> Verdict:
    """The first of the choices that are named: in brackets, before a blank, before a full stop, or else by text.

    Args:
        prediction: What was said.
        doc: Five options in `option`.
        truth: The right one, by number from 0 (also as text, which the data set has) or by letter.
        generator: See `verdict`.
    """
    options = {letter: doc["option"][place].strip() for place, letter in enumerate(_LETTERS)}
    response = pad(prediction)
    places = [
        (response.rfind(form.format(letter)), letter)
        for form in ("({})", "{} ", "{}.")
        for letter in options
        if form.format(letter) in response
    ]
    lowered = response.lower()
    places = places or [
        (lowered.rfind(options[letter].lower()), letter) for letter in texts_in(response, options)
    ]
    wanted = letter_of(truth)
    if not places:
        return unread(list(options), wanted, generator)
    # min() keeps the first of equals.
    letter = min(places, key=lambda found: found[0])[1]
    return right(letter == wanted, letter)


def figures(records: Sequence[Row]) -> dict[str, float]:
    """`score`: the share (0 to 1) of right answers."""
    return {"score": accuracy(records)}


EGOSCHEMA = Benchmark(
    title="EgoSchema",
    truth=truth,
    lmms=judge,
    cambrian=judge,
    lmms_figures=figures,
    cambrian_figures=figures,
    metric="score",
)
