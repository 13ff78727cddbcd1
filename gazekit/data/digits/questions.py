"""Questions about a mosaic in words, their answers, and the cell that each word of an answer describes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

QuestionKind = Literal["row", "column", "cell", "where", "count"]

_TEMPLATES: dict[QuestionKind, str] = {
    "row": "read row {row}",
    "column": "read column {column}",
    "cell": "what is at row {row}, column {column}?",
    "where": "where is the {digit}?",
    "count": "how many {digit}s?",
}
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)


@dataclass(frozen=True)
class Question:
    """A question and its answer.

    Attributes:
        kind: What is asked for: the digits of a row or a column, the digit of a cell, a digit's place, how
            often it is there.
        text: The question; rows and columns count from 1.
        answer: The answer's words, one token each. What is searched for or counted is named first: "7 second third"
            = the 7 is in the second row and the third column.
        cells: For each word the cell, in reading order from 0, that must be seen to say it; None where no
            single cell tells (the digit's name, and how many there are).
        given: Words at the answer's start that only repeat the question; they do not count as an answer.
    """

    kind: QuestionKind
    text: str
    answer: tuple[str, ...]
    cells: tuple[int | None, ...]
    given: int = 0

    @property
    def reply(self) -> str:
        """The answer as a sentence."""
        return " ".join(self.answer)


def ask_row(labels: Int[np.ndarray, "row column"], row: int) -> Question:
    """Asks for the digits of one row (from 0), left to right."""
    return _ask_line("row", labels, np.arange(labels.size).reshape(labels.shape)[row], row=row + 1)


def ask_column(labels: Int[np.ndarray, "row column"], column: int) -> Question:
    """Asks for the digits of one column (from 0), top to bottom."""
    return _ask_line(
        "column", labels, np.arange(labels.size).reshape(labels.shape)[:, column], column=column + 1
    )


def ask_cell(labels: Int[np.ndarray, "row column"], row: int, column: int) -> Question:
    """Asks which digit is in one cell (row and column from 0)."""
    cell = np.array([row * labels.shape[1] + column])
    return _ask_line("cell", labels, cell, row=row + 1, column=column + 1)


def ask_where(labels: Int[np.ndarray, "row column"], digit: int) -> Question:
    """Asks where a digit is.

    Raises:
        ValueError: If the digit is not there exactly once, or there are more rows or columns than words for them.
    """
    if max(labels.shape) > len(_ORDINALS):
        raise ValueError(
            f"labels must have at most {len(_ORDINALS)} rows and columns for a place to be told in words, "
            f"got {labels.shape}; ask for something else"
        )
    found = np.flatnonzero(labels == digit)
    if len(found) != 1:
        raise ValueError(
            f"digit must be there exactly once to be asked for by place, {digit} is there {len(found)} times"
        )
    cell = int(found[0])
    row, column = divmod(cell, labels.shape[1])
    return Question(
        kind="where",
        text=_TEMPLATES["where"].format(digit=digit),
        answer=(str(digit), _ORDINALS[row], _ORDINALS[column]),
        cells=(None, cell, cell),
        given=1,
    )


def ask_count(labels: Int[np.ndarray, "row column"], digit: int) -> Question:
    """Asks how often a digit is there.

    Raises:
        ValueError: If the digit is absent.
    """
    count = int((labels == digit).sum())
    if count == 0:
        raise ValueError(f"digit must be there to be counted, {digit} is absent; ask for another")
    return Question(
        kind="count",
        text=_TEMPLATES["count"].format(digit=digit),
        answer=(str(digit), str(count)),
        cells=(None, None),
        given=1,
    )


def vocabulary(cells: int) -> tuple[str, ...]:
    """Every word of a question or an answer about at most `cells` cells: words first, then numerals."""
    texts = " ".join(re.sub(r"{\w+}", " ", template) for template in _TEMPLATES.values())
    words = sorted(set(re.findall(r"[a-z]+", texts)))
    return (*words, *_ORDINALS, *(str(number) for number in range(max(cells, 9) + 1)))


def _ask_line(kind: QuestionKind, labels: np.ndarray, cells: np.ndarray, **places: int) -> Question:
    """A question whose answer is the digits of `cells`."""
    return Question(
        kind=kind,
        text=_TEMPLATES[kind].format(**places),
        answer=tuple(str(digit) for digit in labels.reshape(-1)[cells].tolist()),
        cells=tuple(cells.tolist()),
    )
