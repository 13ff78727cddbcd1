"""Which questions are asked about a mosaic, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from jaxtyping import Int

from gazekit.data.conversation import Conversation, Message, Slot
from gazekit.data.digits.mosaics import Mosaic, MosaicSpec
from gazekit.data.digits.questions import (
    Question,
    QuestionKind,
    ask_cell,
    ask_column,
    ask_count,
    ask_row,
    ask_where,
)
from gazekit.data.digits.scans import NUM_CLASSES

_MAX_TURNS = 8
_Name = TypeVar("_Name", bound=str)


@dataclass(frozen=True, kw_only=True)
class SingleQuestion:
    """One question a conversation, as in an evaluation; use `ManyQuestions` to train.

    Args:
        row: Weight of reading a row.
        column: Weight of reading a column.
        cell: Weight of naming the digit of a cell.
        where: Weight of finding a digit.
        count: Weight of counting a digit.

    Raises:
        ValueError: If a weight is negative, or all are zero.
    """

    row: float = 0.4
    column: float = 0.4
    cell: float = 0.1
    where: float = 0.05
    count: float = 0.05

    def __post_init__(self) -> None:
        _check_weights({field.name: getattr(self, field.name) for field in fields(self)})

    def draw_kinds(self, spec: MosaicSpec, rng: np.random.Generator) -> tuple[QuestionKind, ...]:
        """Draws the kind of the question."""
        kinds: dict[QuestionKind, float] = {
            "row": self.row,
            "column": self.column,
            "cell": self.cell,
            "where": self.where,
            "count": self.count,
        }
        return _draw(rng, kinds, 1)


@dataclass(frozen=True, kw_only=True)
class ManyQuestions:
    """Several questions about one mosaic: rows only, columns only, or a mixture of the other kinds.

    One image then teaches as many answers as there are turns, and no answer can be copied from an earlier
    one: rows never follow columns, and what a mixture has told it does not ask.

    Args:
        rows: Weight of conversations that read rows.
        columns: Weight of conversations that read columns.
        mixed: Weight of conversations that mix the kinds below.
        turns: Most questions of a conversation, from 1 to 8.
        cell: Weight, within a mixture, of naming the digit of a cell.
        where: Weight, within a mixture, of finding a digit.
        count: Weight, within a mixture, of counting a digit.

    Raises:
        ValueError: If a weight is negative, all of one group are zero, or `turns` is out of range.
    """

    rows: float = 0.3
    columns: float = 0.3
    mixed: float = 0.4
    turns: int = 6
    cell: float = 0.6
    where: float = 0.25
    count: float = 0.15

    def __post_init__(self) -> None:
        _check_weights({name: getattr(self, name) for name in ("rows", "columns", "mixed")})
        _check_weights({name: getattr(self, name) for name in ("cell", "where", "count")})
        if not 1 <= self.turns <= _MAX_TURNS:
            raise ValueError(
                f"turns must be from 1 to {_MAX_TURNS}, got {self.turns}; with more, little is left to ask"
            )

    def draw_kinds(self, spec: MosaicSpec, rng: np.random.Generator) -> tuple[QuestionKind, ...]:
        """Draws the kinds of a conversation's questions, in order."""
        (sort,) = _draw(rng, {"rows": self.rows, "columns": self.columns, "mixed": self.mixed}, 1)
        if sort == "mixed":
            kinds: dict[QuestionKind, float] = {"cell": self.cell, "where": self.where, "count": self.count}
            return _draw(rng, kinds, self.turns)
        line: QuestionKind = "row" if sort == "rows" else "column"
        return (line,) * min(self.turns, spec.rows if sort == "rows" else spec.columns)


def ask(
    labels: Int[np.ndarray, "row column"], kinds: Sequence[QuestionKind], rng: np.random.Generator
) -> tuple[Question, ...]:
    """Asks one question of each kind, in order, none of them twice.

    A digit that is absent is never named, nor one asked for by place that is there twice. What a "where"
    tells is not asked by a "cell" or a "count". Where no digit is left to find or to count, a cell is asked
    for instead.

    Raises:
        ValueError: If more rows, columns or cells are asked for than there are.
    """
    rows, columns = labels.shape
    counts = np.bincount(labels.reshape(-1), minlength=NUM_CLASSES)
    to_find = rng.permutation(np.flatnonzero(counts == 1))[: kinds.count("where")]
    counts[to_find] = 0
    pools = {
        "row": iter(rng.permutation(rows).tolist()),
        "column": iter(rng.permutation(columns).tolist()),
        "cell": iter(rng.permutation(np.flatnonzero(counts[labels.reshape(-1)])).tolist()),
        "where": iter(to_find.tolist()),
        "count": iter(rng.permutation(np.flatnonzero(counts)).tolist()),
    }
    asks = {
        "row": ask_row,
        "column": ask_column,
        "cell": lambda labels, cell: ask_cell(labels, *divmod(cell, columns)),
        "where": ask_where,
        "count": ask_count,
    }
    questions = []
    for wish in kinds:
        value = next(pools[wish], None)
        kind = "cell" if value is None and wish in ("where", "count") else wish
        value = next(pools[kind], None) if value is None else value
        if value is None:
            raise ValueError(f"kinds asks for more {kind}s than {rows} x {columns} cells hold; ask for fewer")
        questions.append(asks[kind](labels, value))
    return tuple(questions)


def converse(mosaic: Mosaic, questions: Sequence[Question]) -> Conversation:
    """Questions and answers about one mosaic, which the first message shows."""
    turns = []
    for number, question in enumerate(questions):
        shown = (Slot.IMAGE,) if number == 0 else ()
        turns += [
            Message(role="user", content=(*shown, question.text)),
            Message(role="assistant", content=(question.reply,)),
        ]
    return Conversation(messages=tuple(turns), images=(mosaic.picture,))


def prompt(mosaic: Mosaic, question: Question) -> Conversation:
    """One question about a mosaic, the answer left to the model."""
    asked = Message(role="user", content=(Slot.IMAGE, question.text))
    return Conversation(messages=(asked,), images=(mosaic.picture,))


def _check_weights(weights: dict[str, float]) -> None:
    for name, weight in weights.items():
        if weight < 0:
            raise ValueError(f"{name} must not be negative, got {weight}; a kind of weight 0 is not drawn")
    if sum(weights.values()) <= 0:
        raise ValueError(
            f"one of {', '.join(weights)} must be positive, got 0 for all; nothing would be asked"
        )


def _draw(rng: np.random.Generator, weights: dict[_Name, float], count: int) -> tuple[_Name, ...]:
    """Draws `count` names by weight, each by itself."""
    ends = np.cumsum(list(weights.values()))
    picks = np.searchsorted(ends, rng.random(count) * ends[-1], side="right")
    names = list(weights)
    return tuple(names[pick] for pick in picks)
