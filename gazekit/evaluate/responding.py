"""Questions to a model, answers from it, and how much it looked at meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from gazekit.contracts import Kind
from gazekit.evaluate.glances import Looked, looked
from gazekit.evict import QuestionEviction
from gazekit.gaze import GazeTrace, evicting, prepare_cache, watch
from gazekit.models import CambrianConfig
from gazekit.models.retrofit import Conversations

_KINDS = ("visual", "context", "text")


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is put to a model.

    Attributes:
        messages: As chat templates take them, with typed contents: `{"type": "image"}` where an image stands.
        images: In order: PIL images, arrays or paths.
        videos: In order, each a sequence of frames.
    """

    messages: Sequence[Mapping[str, Any]]
    images: Sequence[Any] = ()
    videos: Sequence[Sequence[Any]] = ()

    def blind(self) -> Question:
        """The same words, and nothing shown."""
        messages = [
            {**one, "content": [part for part in one["content"] if part["type"] == "text"]}
            for one in self.messages
        ]
        return replace(self, messages=messages, images=(), videos=())


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model said.

    Attributes:
        text: Its words, up to what was to end them.
        input_tokens: Of the prompt, images included, padding not.
        output_tokens: That were written, the end of the turn included.
        attended: Mean entries that each query which wrote a token attended, over layers and heads: `visual`,
            `context`, `text`; with them `queries`, how many those were, and `visual_tokens`, what a dense LLM would
            have attended. Empty where the model has no gaze to watch.
    """

    text: str
    input_tokens: int
    output_tokens: int
    attended: Mapping[str, float] = field(default_factory=dict)


class Responder:
    """A model and its processor, greedy: a Cambrian, or a VLM of transformers.

    Args:
        model: It is put in eval mode.
        processor: A `CambrianProcessor`, or the stock processor of a VLM.
        eviction: Prefill all but the last token of each prompt, drop what this does not keep, then generate; a
            Cambrian alone can.

    Attributes:
        backends: Classes of the backends that attended in the latest batch; none where nobody could watch.

    Raises:
        ValueError: Eviction from another model than a Cambrian.
    """

    def __init__(self, model: nn.Module, processor: Any, *, eviction: QuestionEviction | None = None) -> None:
        self.model: Any = model.eval()
        self.cambrian = model.config.model_type == CambrianConfig.model_type
        self.processor = processor if self.cambrian else Conversations(processor)
        if eviction is not None and not self.cambrian:
            raise ValueError(
                f"eviction needs a Cambrian, whose prompt can be fed in two pieces, got {type(model).__name__}; "
                "leave it out of --systems"
            )
        self.eviction = eviction
        self.backends: set[str] = set()

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def respond(
        self, questions: Sequence[Question], *, max_new_tokens: int, until: Sequence[str] = ()
    ) -> list[Reply]:
        """Answers to questions, left-padded together, in order.

        Args:
            questions: At least one.
            max_new_tokens: Of each answer.
            until: What ends an answer; it and all behind it are cut off.
        """
        batch = self._encode(questions)
        length = batch["input_ids"].shape[1]
        watchable = any("gaze_trace" in module.__dict__ for module in self.model.modules())
        with watch(self.model) if watchable else nullcontext() as seen:
            cache = {} if self.eviction is None else {"past_key_values": self._evicted(batch, self.eviction)}
            ids = self.model.generate(
                **batch,
                **cache,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
            )
        new = ids[:, length:].cpu()
        counts = [self._written(row) for row in new]
        attended = self._attended(batch, seen, counts) if seen is not None else [{} for _ in counts]
        tokenizer = self.processor.tokenizer
        return [
            Reply(
                text=_until(tokenizer.decode(row[:count], skip_special_tokens=True), until),
                input_tokens=int(mask.sum()),
                output_tokens=count,
                attended=some,
            )
            for row, count, mask, some in zip(
                new, counts, batch["attention_mask"].cpu(), attended, strict=True
            )
        ]

    def _encode(self, questions: Sequence[Question]) -> dict[str, Any]:
        """The batch of prompts, on the model's device."""
        if self.cambrian:
            prompts = [
                self.processor.apply_chat_template(list(one.messages), add_generation_prompt=True)
                for one in questions
            ]
            images, videos = [list(one.images) for one in questions], [list(one.videos) for one in questions]
            return dict(self.processor(text=prompts, images=images, videos=videos).to(self.device))
        samples = [self.processor.encode_question(one.messages, one.images, one.videos) for one in questions]
        return dict(self.processor.collate(samples, padding_side="left").to(self.device))

    def _evicted(self, batch: dict[str, Any], eviction: QuestionEviction) -> Any:
        """A cache of all but the prompts' last token, reduced to what the eviction keeps."""
        cache = prepare_cache(None, self.model.config.get_text_config())
        length = batch["input_ids"].shape[1]
        head = {**batch, "input_ids": batch["input_ids"][:, : length - 1]}
        head["attention_mask"] = batch["attention_mask"][:, : length - 1]
        with evicting(self.model, eviction):
            packed = self._layout(batch).pack()
            self.model(**head, past_key_values=cache, use_cache=True, gaze_layout=packed)
        return cache

    def _layout(self, batch: Mapping[str, Any]) -> Any:
        if self.cambrian:
            known = ("input_ids", "attention_mask", "clip_lengths", "pixel_values")
            return self.model.layout(**{name: batch[name] for name in known if name in batch})
        return self.model.layout(**batch)

    def _written(self, ids: Int[Tensor, " token"]) -> int:
        """Tokens of an answer, its end included."""
        ends = self.model.generation_config.eos_token_id
        ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
        found = torch.isin(ids, torch.tensor(ends, dtype=ids.dtype)).nonzero()
        return int(found[0]) + 1 if len(found) else len(ids)

    def _attended(
        self, batch: Mapping[str, Any], seen: GazeTrace, counts: Sequence[int]
    ) -> list[dict[str, float]]:
        self.backends = set(seen.backends)
        found = looked(seen, batch["input_ids"].shape[1] - 1)
        if found is None:
            return [{} for _ in counts]
        visual = (self._layout(batch).kind == Kind.VISUAL).sum(1).tolist()
        return [
            {**_mean(found, sample, count), "queries": float(count), "visual_tokens": float(tokens)}
            for sample, (count, tokens) in enumerate(zip(counts, visual, strict=True))
        ]


def _mean(found: Looked, sample: int, count: int) -> dict[str, float]:
    """Entries by kind, a mean over steps, layers and heads; in float64, so that it does not depend on the batch."""
    means = found.attended[sample, :count].to(torch.float64).mean((0, 1, 2))
    return dict(zip(_KINDS, means.tolist(), strict=True))


def _until(text: str, ends: Sequence[str]) -> str:
    for end in ends:
        if end:
            text = text.split(end)[0]
    return text
