"""Reading answers off images: greedy generation against known words, and where the model looked meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from gazekit.evaluate.glances import looked
from gazekit.evaluate.metrics import AttendedEntries, RoutingAccuracy, overlapping_regions
from gazekit.evict import QuestionEviction
from gazekit.gaze import GazeTrace, compositions, evicting, prepare_cache, watch

MIN_SHARE = 0.25


@runtime_checkable
class Asked(Protocol):
    """What is asked: the kind of question, its words, the words of the answer and the place that each describes."""

    kind: str
    text: str
    answer: tuple[str, ...]
    given: int
    cells: tuple[int | None, ...]


@runtime_checkable
class Item(Protocol):
    """One question about one image, with its truth; what `gazekit.data.digits` yields."""

    image: Any
    question: Asked
    masks: Bool[np.ndarray, "word height width"]
    prompt: Any


@runtime_checkable
class Items(Protocol):
    """Questions, drawn as they are asked for."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, index: int) -> Item:
        """One of them."""


@dataclass(frozen=True)
class Answer:
    """What was said to one question.

    Attributes:
        kind: Kind of question.
        question: Its words.
        expected: Words of the right answer.
        said: Words generated in their place, "" where generation had ended.
        glances: For each word the regions chosen, `[layer head slot]`, -1 = empty; None where nobody watched.
        given: Words at the start that only repeat the question, and do not count.
    """

    kind: str
    question: str
    expected: tuple[str, ...]
    said: tuple[str, ...]
    glances: Any = None
    given: int = 0

    @property
    def written(self) -> int:
        """Words that were generated in the place of expected ones before the answer ended."""
        return next((n for n, word in enumerate(self.said) if not word), len(self.said))

    @property
    def right(self) -> int:
        """Words that are right in their place, of those that count."""
        pairs = list(zip(self.expected, self.said, strict=True))[self.given :]
        return sum(one == other for one, other in pairs)

    @property
    def counted(self) -> int:
        """Words that count."""
        return len(self.expected) - self.given


@dataclass
class Outcome:
    """Answers and what they cost.

    Attributes:
        answers: One for each item, in order.
        attended: Entries attended by the queries that wrote words in answers' places; None where nobody watched.
        routing: Where those queries looked; None where nobody watched or nothing routes.
        boxes: Regions of each item along (t, y, x) in tokens, `[region 3 2]`; empty where nobody watched.
    """

    answers: list[Answer] = field(default_factory=list)
    attended: AttendedEntries | None = None
    routing: RoutingAccuracy | None = None
    boxes: list[Tensor] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Share of answer words that are right in their place; words that repeat the question do not count."""
        return sum(answer.right for answer in self.answers) / sum(answer.counted for answer in self.answers)

    @property
    def accuracy_by_kind(self) -> dict[str, float]:
        """The same for each kind of question."""
        right: Mapping[str, list[int]] = defaultdict(lambda: [0, 0])
        for answer in self.answers:
            right[answer.kind][0] += answer.right
            right[answer.kind][1] += answer.counted
        return {kind: hits / words for kind, (hits, words) in sorted(right.items())}


@torch.no_grad()
def read(
    model: nn.Module,
    processor: Any,
    items: Items,
    *,
    batch_size: int = 100,
    trace: bool = False,
    eviction: QuestionEviction | None = None,
    min_share: float = MIN_SHARE,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Asks every item's question and generates greedily; nothing of the answer is ever fed in.

    Args:
        model: A Cambrian model.
        processor: Its processor.
        items: Questions with their truth, all about images of the model's size.
        batch_size: Questions at a time, left-padded together.
        trace: Record what was looked at.
        eviction: Prefill all but the prompt's last token, drop what this does not keep, then generate.
        min_share: Share of a mask that a region must hold to count as looked at (`overlapping_regions`).
        progress: Told the number of questions done after each batch.

    Raises:
        ValueError: An answer word is not a single token of the tokenizer.
    """
    model.eval()
    outcome = Outcome()
    if trace:
        config = model.config.get_text_config()
        outcome.attended = AttendedEntries()
        routes = any(gaze.route is not None for gaze in compositions(cast(nn.Module, model.language_model)))
        if routes:
            outcome.routing = RoutingAccuracy(config.num_hidden_layers, config.num_attention_heads)
    for start in range(0, len(items), batch_size):
        some = [items[index] for index in range(start, min(start + batch_size, len(items)))]
        with watch(model) if trace else nullcontext() as seen:
            batch, said = _generate(model, processor, some, eviction)
        answers = [_answer(processor, item, ids) for item, ids in zip(some, said, strict=True)]
        if seen is not None:
            answers = _look_back(model, outcome, some, answers, batch, seen, min_share)
        outcome.answers += answers
        if progress is not None:
            progress(len(outcome.answers))
    return outcome


def _generate(
    model: nn.Module, processor: Any, items: Sequence[Item], eviction: QuestionEviction | None
) -> tuple[dict[str, Tensor], Tensor]:
    """The batch of prompts and the new tokens, `[item word]`."""
    device = next(model.parameters()).device
    prompts = [
        processor.apply_chat_template(item.prompt.as_chat(), add_generation_prompt=True) for item in items
    ]
    batch = dict(processor(text=prompts, images=[list(item.prompt.images) for item in items]).to(device))
    longest = max(len(item.question.answer) for item in items)
    cache = {}
    if eviction is not None:
        cache = {"past_key_values": _evicted(model, batch, eviction)}
    ids = model.generate(**batch, **cache, max_new_tokens=longest, do_sample=False)
    return batch, ids[:, batch["input_ids"].shape[1] :]


def _evicted(model: nn.Module, batch: dict[str, Tensor], eviction: QuestionEviction) -> Any:
    """A cache of all but the prompts' last token, reduced to what the eviction keeps."""
    cache = prepare_cache(None, model.config.get_text_config())
    length = batch["input_ids"].shape[1]
    known = ("input_ids", "attention_mask", "clip_lengths", "pixel_values")
    layout = model.layout(**{name: batch[name] for name in known if name in batch})
    head = {**batch, "input_ids": batch["input_ids"][:, : length - 1]}
    head["attention_mask"] = batch["attention_mask"][:, : length - 1]
    with evicting(model, eviction):
        model(**head, past_key_values=cache, use_cache=True, gaze_layout=layout.pack())
    return cache


def _answer(processor: Any, item: Item, ids: Tensor) -> Answer:
    """What was said in the place of each expected word."""
    tokenizer = processor.tokenizer
    expected = tokenizer(" ".join(item.question.answer), add_special_tokens=False)["input_ids"]
    if len(expected) != len(item.question.answer):
        raise ValueError(
            f"every answer word must be one token, but {' '.join(item.question.answer)!r} is {len(expected)} tokens"
        )
    words = [tokenizer.decode([int(one)], skip_special_tokens=True).strip() for one in ids[: len(expected)]]
    words += [""] * (len(expected) - len(words))
    asked = item.question
    return Answer(asked.kind, asked.text, asked.answer, tuple(words), given=asked.given)


def _look_back(
    model: nn.Module,
    outcome: Outcome,
    items: Sequence[Item],
    answers: list[Answer],
    batch: dict[str, Tensor],
    seen: GazeTrace,
    min_share: float,
) -> list[Answer]:
    """Adds a batch's glances to the metrics and to its answers; word j is written by the query before it."""
    found = looked(seen, batch["input_ids"].shape[1] - 1)
    assert found is not None, "every layer that attends was watched"
    words = torch.tensor([answer.written for answer in answers])
    visual = (batch["input_ids"] == model.config.image_token_id).sum(1).cpu()
    written = torch.arange(found.attended.shape[1]) < words[:, None]
    outcome.attended.update(found.attended.permute(0, 2, 3, 1, 4), visual, written)
    if outcome.routing is None or not found.routing:
        return answers
    regions = seen.regions
    traced = []
    for place, (item, answer) in enumerate(zip(items, answers, strict=True)):
        glances = torch.full((len(answer.expected), *found.index.shape[2:]), -1, dtype=torch.int32)
        glances[: answer.written] = found.index[place, : answer.written]
        real = regions.size[place].cpu() > 0
        box = regions.box[place].cpu()[real]
        outcome.boxes.append(box)
        masks = torch.from_numpy(item.masks)
        described = masks.flatten(1).any(1) & (torch.arange(len(masks)) < answer.written)
        if bool(described.any()):
            grid = (int(box[:, 1, 1].max()), int(box[:, 2, 1].max()))
            boxes = box.expand(int(described.sum()), -1, -1, -1)
            overlaps = overlapping_regions(masks[described], boxes, grid, min_share)
            outcome.routing.update(glances[described], overlaps, torch.full((boxes.shape[0],), box.shape[0]))
        traced.append(replace(answer, glances=glances))
    return traced
