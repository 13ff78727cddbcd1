"""LongVideoBench: up to five options about a video with subtitles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import SupportsIndex

from gazekit.evaluate.scorers.benchmark import Benchmark
from gazekit.evaluate.scorers.means import Row, accuracy
from gazekit.evaluate.scorers.verdict import Doc, Verdict, letter_of, right, unread

_LETTERS = "ABCDE"
# Dropped wherever they stand, in this order.
_ANNOUNCEMENTS = (
    *("The best answer is", "The correct answer is", "The answer is", "The answer"),
    *("The best option is", "The correct option is", "Best answer:", "Best option:"),
)


def judge(prediction: str, doc: Doc, truth: SupportsIndex | str, generator: Random | None = None) -> Verdict:
    """The first capital A to E, even within a word ("Based on the video, C" is B), with announcements left out.

    Args:
        prediction: What was said.
        doc: Options `option0` to `option4`; the first "N/A" ends them.
        truth: The right option, by number from 0 or by letter.
        generator: See `verdict`.
    """
    said = prediction.strip()
    for announcement in _ANNOUNCEMENTS:
        said = said.replace(announcement, "")
    wanted = letter_of(truth)
    if found := re.search("[A-E]", said):
        return right(found[0] == wanted, found[0])
    count = next((place for place in range(5) if doc.get(f"option{place}") == "N/A"), 5)
    return unread(list(_LETTERS[:count]), wanted, generator)


def figures(records: Sequence[Row]) -> dict[str, float]:
    """`lvb_acc`: the share (0 to 1) of right answers, to five places.

    lmms-eval counts each answer once by length and once by category, which comes to the same.
    """
    return {"lvb_acc": round(accuracy(records), 5)}


LONGVIDEOBENCH = Benchmark(
    title="LongVideoBench",
    truth=lambda doc: doc["correct_choice"],
    lmms=judge,
    cambrian=judge,
    lmms_figures=figures,
    cambrian_figures=figures,
    metric="lvb_acc",
)
