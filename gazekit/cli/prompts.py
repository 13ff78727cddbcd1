"""Many prompts: read in batches, each answered or said to be wrong by itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gazekit.cli.answers import Answers
from gazekit.cli.showing import question_of
from gazekit.data import JsonRows
from gazekit.data.records import DataRoot, RecordOpener, Rows, list_pictures, read_prompt
from gazekit.models import Answerer, Question, Sampling


@dataclass(frozen=True)
class Prompts:
    """Questions in rows.

    Attributes:
        rows: One a question.
        root: The folder that they name files in.
    """

    rows: Rows | Sequence[Mapping[str, Any]]
    root: DataRoot

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Asked:
    """A prompt that has been read.

    Attributes:
        name: Its id.
        ask: Its question.
        question: The same with what it shows; None = it cannot be used.
        error: Why not.
    """

    name: str
    ask: str
    question: Question | None
    error: str = ""


@dataclass(frozen=True)
class Batch:
    """Some prompts.

    Attributes:
        asked: Those to be answered.
        skipped: How many before them have answers.
    """

    asked: Sequence[Asked]
    skipped: int


def prompts_of(arguments: argparse.Namespace) -> Prompts:
    """The prompts of a file, or one for each image of a folder.

    Raises:
        ValueError: The file is nothing that can be read, or the folder holds no image.
    """
    if arguments.prompts is not None:
        return Prompts(
            JsonRows(arguments.prompts), DataRoot(arguments.root or Path(arguments.prompts).parent)
        )
    names = list_pictures(arguments.folder)
    if not names:
        raise ValueError(f"--folder must hold images, got none in {arguments.folder}")
    rows = [{"id": name, "image": name, "ask": arguments.ask} for name in names]
    return Prompts(rows, DataRoot(arguments.folder))


def batches(prompts: Prompts, opener: RecordOpener, answers: Answers, size: int) -> Iterator[Batch]:
    """The prompts that have no answer, `size` at once.

    Args:
        prompts: All.
        opener: Opens what they show.
        answers: What is answered.
        size: Of a batch.

    Raises:
        ValueError: Another question is answered under the id of one.
    """
    asked: list[Asked] = []
    seen: set[str] = set()
    skipped = 0
    for number in range(len(prompts)):
        one = _read(prompts, number, opener, answers, seen)
        if one is None:
            skipped += 1
        else:
            asked.append(one)
        if len(asked) == size:
            yield Batch(asked, skipped)
            asked, skipped = [], 0
    if asked or skipped:
        yield Batch(asked, skipped)


def answered(
    answerer: Answerer | None, asked: Sequence[Asked], sampling: Sampling
) -> Iterator[dict[str, str]]:
    """A row for each prompt, with its answer or what is wrong.

    What cannot be answered together is answered one by one, so that one prompt spoils no other.

    Args:
        answerer: The model; None where no prompt has a question.
        asked: The prompts.
        sampling: How words are chosen.
    """
    questions = [one.question for one in asked if one.question is not None]
    found = iter(_try(answerer, questions, sampling))
    for one in asked:
        said = {"error": one.error} if one.question is None else next(found)
        yield {"id": one.name, "ask": one.ask, **said}


def _try(
    answerer: Answerer | None, questions: Sequence[Question], sampling: Sampling
) -> list[dict[str, str]]:
    if not questions:
        return []
    assert answerer is not None
    try:
        return [{"answer": text} for text in answerer.answer(questions, sampling)]
    except (ValueError, torch.OutOfMemoryError) as error:
        if len(questions) == 1:
            return [{"error": " ".join(str(error).split())}]
    return [row for one in questions for row in _try(answerer, [one], sampling)]


def _read(
    prompts: Prompts, number: int, opener: RecordOpener, answers: Answers, seen: set[str]
) -> Asked | None:
    """One prompt; None = it is answered."""
    name, ask = str(number), ""
    try:
        row = prompts.rows[number]
        name = str(number if row.get("id") is None else row["id"])
        record = read_prompt(row)
        ask = str(row["ask"])
        if name in seen:
            return Asked(name, ask, None, f"id {name} is there twice; give each prompt its own")
    except ValueError as error:
        return Asked(name, ask, None, str(error))
    seen.add(name)
    if answers.has(name, ask):
        return None
    try:
        return Asked(name, ask, question_of(opener(record, prompts.root), name))
    except ValueError as error:
        return Asked(name, ask, None, str(error))
