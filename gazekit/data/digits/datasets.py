"""The digits set as data sets: every item is a pure function of (seed, split, index)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool
from PIL import Image
from torch.utils.data import Dataset

from gazekit.data.conversation import Conversation
from gazekit.data.digits.conversations import SingleQuestion, ask, converse, prompt
from gazekit.data.digits.mosaics import Mosaic, MosaicSpec, draw_layout, render, sketch
from gazekit.data.digits.questions import Question, QuestionKind
from gazekit.data.digits.scans import Split, check_split

_SPLITS = {"train": 0, "validation": 1, "test": 2}


@runtime_checkable
class QuestionPlan(Protocol):
    """Chooses the kinds of the questions that are asked about a mosaic."""

    def draw_kinds(self, spec: MosaicSpec, rng: np.random.Generator) -> tuple[QuestionKind, ...]:
        """The kinds, in the order of asking."""
        ...


@dataclass(frozen=True, eq=False)
class DigitsSample:
    """A mosaic and what is asked about it.

    Attributes:
        mosaic: The image and its ground truth.
        questions: Questions with their answers, in order.
    """

    mosaic: Mosaic
    questions: tuple[Question, ...]

    @property
    def conversation(self) -> Conversation:
        """All questions with their answers, to train on."""
        return converse(self.mosaic, self.questions)


@dataclass(frozen=True, eq=False)
class DigitsItem:
    """One question with all that is needed to judge an answer to it and where the model looked.

    Attributes:
        image: The mosaic.
        question: What is asked, the words of the answer and the cells that they describe.
        masks: For each word of the answer the ink of the digit that it describes; empty where it describes
            none.
        prompt: The image and the question, the answer left to the model.
    """

    image: Image.Image
    question: Question
    masks: Bool[np.ndarray, "word height width"]
    prompt: Conversation


class DigitsDataset(Dataset):
    """Mosaics with questions.

    Items are drawn anew for every index and never stored; a batch of them is drawn together (`__getitems__`),
    which is faster than one by one and gives the same.

    Args:
        split: The scans to draw from.
        plan: Which questions are asked: `ManyQuestions` to train, `SingleQuestion` to evaluate, None for
            mosaics alone.
        length: Number of samples.
        seed: Seed of the samples; together with the split and the index it decides everything.
        start: Index of the first sample, so that a later stage goes on where an earlier one stopped.
        spec: How mosaics look.

    Raises:
        ValueError: If `split` is unknown, or `length`, `seed` or `start` is negative.
    """

    def __init__(
        self,
        *,
        split: Split,
        plan: QuestionPlan | None,
        length: int,
        seed: int = 0,
        start: int = 0,
        spec: MosaicSpec | None = None,
    ) -> None:
        check_split(split)
        for name, value in (("length", length), ("seed", seed), ("start", start)):
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}; count from 0")
        self.split = split
        self.plan = plan
        self.length = length
        self.seed = seed
        self.start = start
        self.spec = spec or MosaicSpec()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> DigitsSample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[DigitsSample]:
        """Draws several samples together; what PyTorch's loaders call for a batch."""
        sketches, questions = [], []
        for index in indices:
            rng = np.random.default_rng((self.seed, _SPLITS[self.split], self._place(index)))
            kinds = self.plan.draw_kinds(self.spec, rng) if self.plan else ()
            labels = draw_layout(self.spec, rng, unique=kinds.count("where"))
            questions.append(ask(labels, kinds, rng))
            sketches.append(sketch(self.spec, self.split, rng, labels))
        mosaics = render(self.spec, self.split, sketches)
        return [DigitsSample(mosaic=m, questions=q) for m, q in zip(mosaics, questions, strict=True)]

    def _place(self, index: int) -> int:
        if not -self.length <= index < self.length:
            raise IndexError(f"index {index} is outside a set of {self.length} samples")
        return self.start + index % self.length


class DigitsEvaluation(Dataset):
    """Single questions about mosaics of held-out scans, with their ground truth.

    Args:
        length: Number of questions, each about a mosaic of its own.
        split: The scans to draw from.
        plan: How often each kind is asked.
        seed: Seed of the items. It is no run's seed: runs of all seeds should meet the same questions.
        spec: How mosaics look.

    Raises:
        ValueError: As for `DigitsDataset`.
    """

    def __init__(
        self,
        *,
        length: int,
        split: Split = "test",
        plan: QuestionPlan | None = None,
        seed: int = 0,
        spec: MosaicSpec | None = None,
    ) -> None:
        self.samples = DigitsDataset(
            split=split, plan=plan or SingleQuestion(), length=length, seed=seed, spec=spec
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> DigitsItem:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[DigitsItem]:
        """Draws several items together."""
        return [_item(sample) for sample in self.samples.__getitems__(indices)]


def _item(sample: DigitsSample) -> DigitsItem:
    """The first question of a sample with the masks of its answer."""
    question, mosaic = sample.questions[0], sample.mosaic
    ink = mosaic.masks
    masks = np.stack([np.zeros_like(ink[0]) if cell is None else ink[cell] for cell in question.cells])
    return DigitsItem(image=mosaic.picture, question=question, masks=masks, prompt=prompt(mosaic, question))
