"""A letter out of a sentence, as lmms-eval's shared extractor for multiple-choice questions finds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# What announces an answer; lmms-eval's list, languages included.
_NOUNS = ("answer", "option", "choice")
_ANNOUNCEMENTS = (
    *(f"{lead}{noun} is" for noun in _NOUNS for lead in ("the correct ", "correct ")),
    *(f"{lead}{noun} is" for noun in ("answer", "option") for lead in ("the best ", "best ")),
    *(f"{lead}{noun} is" for noun in ("answer", "choice") for lead in ("the ", "", "my ")),
    *("i choose", "i select", "i pick"),
    *("옵션", "정답은", "답은", "답:"),
    *("答案是", "答案为", "选"),
    "答えは",
)

_EDGES = ",.!?;:'\""
_START, _END, _ANNOUNCED = 10, 9, 7
# How a letter is set off, and how much that says.
_FORMS = (("({})", 6), ("{}.", 5), ("{}:", 4), ("{})", 3), ("{} ", 2))


def extract_letter(text: str, choices: Sequence[str]) -> str:
    """The letter that a sentence answers with; "" if it names none.

    Capital letters only. Candidates are ranked by how they are set off: at the start, at the end, after "the answer
    is" and its like, in brackets, before a full stop, a colon, a closing bracket or a blank. Among equals the later
    wins, and the first of `choices` if they stand at one place. A letter within a word counts only if there is
    nothing better. So "A dog is left, so C" is A, and "I choose B over D" is D.

    Source: lmms-eval 0.7.3, `extract_mcq_answer`.

    Args:
        text: What was said.
        choices: The letters that may be answered, capitals; none: A to H.
    """
    if not text.strip():
        return ""
    text = text.strip()
    for edge in _EDGES:
        text = text.strip(edge)
    text, choices = f" {text} ", choices or "ABCDEFGH"
    found = list(_candidates(text, choices)) or [(0, text.rfind(c), c) for c in choices if c in text]
    # max() keeps the first of equals, as a stable sort would.
    return max(found, key=lambda candidate: candidate[:2])[2] if found else ""


def _candidates(text: str, choices: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(rank, place, letter) of each letter that is set off somehow."""
    for form, rank in _FORMS:
        for choice in choices:
            if (place := text.rfind(form.format(choice))) >= 0:
                yield rank, place, choice
    lowered = text.lower()
    for announcement in _ANNOUNCEMENTS:
        if (place := lowered.find(announcement)) >= 0:
            for choice in choices:
                if (after := text.find(choice, place + len(announcement))) >= 0:
                    yield _ANNOUNCED, after, choice
    bare = text.strip()
    for choice in choices:
        if bare.startswith(choice) and not bare[1:2].isalpha():
            yield _START, 0, choice
        if bare.endswith(choice) and not bare[-2:-1].isalpha():
            yield _END, len(text) - 1, choice
