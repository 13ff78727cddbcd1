"""The model that lmms-eval sees: a saved Cambrian, or a VLM with gaze. Importable only where lmms-eval is installed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.protocol import ChatMessages

from gazekit.contracts.device import choose_device
from gazekit.data.records.frames import PICTURES
from gazekit.evaluate.benchmarks import read_frames
from gazekit.evaluate.benchmarks.task import MAX_NEW_TOKENS
from gazekit.evaluate.harness import contents
from gazekit.evaluate.responding import Question, Reply, Responder
from gazekit.evaluate.systems import dense, gazes_of, look_as, random
from gazekit.models import open_saved

_SYSTEMS: Mapping[str, Callable] = {
    "gaze": lambda gaze, seed: gaze,
    "dense": lambda gaze, seed: dense(gaze),
    "random": random,
}


class _Model(lmms):
    """Greedy answers, and a line in a file for each of them: what its queries attended.

    Args:
        pretrained: Folder of a saved model and its processor.
        model: A model instead.
        processor: Its own.
        batch_size: Requests at a time.
        device: As `gazekit` takes it.
        dtype: Type of the weights, by torch's name; None = as they were saved.
        system: gaze, dense or random.
        seed: Of regions by lot.
        frames: Of a video at most, one a second.
        attended: File that the attended entries are appended to, one JSON object a line; processes beside the first
            put their number behind its name. "" = none is kept.
        imports: Modules of one's own that the composition names, with a plus between them.
        max_batch_size: What lmms-eval passes along; not used.

    Raises:
        ValueError: There is neither a folder nor a model, or the system is unknown.
    """

    _reads: Callable[[Instance, Any, int], Question]

    def __init__(
        self,
        pretrained: str = "",
        *,
        model: Any = None,
        processor: Any = None,
        batch_size: int | str = 1,
        device: str | None = None,
        dtype: str | None = None,
        system: str = "gaze",
        seed: int = 0,
        frames: int = 32,
        attended: str = "gazekit-attended.jsonl",
        imports: str = "",
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if model is None and not pretrained:
            raise ValueError(
                "pretrained must name the folder of a saved model; pass model_args pretrained=DIR"
            )
        if system not in _SYSTEMS:
            raise ValueError(f"system must be one of {', '.join(_SYSTEMS)}, got {system!r}")
        if model is None:
            place = choose_device(device or "auto")
            if place == "cuda" and "LOCAL_RANK" in os.environ:
                place = f"cuda:{os.environ['LOCAL_RANK']}"
            names = [name for name in imports.split("+") if name]
            model, processor = open_saved(pretrained, device=place, dtype=dtype, imports=names)
        if gazes := gazes_of(model):
            look_as(model, [_SYSTEMS[system](gaze, int(seed)) for gaze in gazes])
        self.responder = Responder(model, processor)
        self.batch_size = int(batch_size)
        self.frames = int(frames)
        self.sidecar = attended
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            # lmms-eval would make one that knows nothing of processes on CPUs.
            self.accelerator = Accelerator(cpu=self.device.type == "cpu")

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.responder.device

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """Answers in the order of the requests; those that only fill up a process's share are not asked.

        Raises:
            ValueError: A request wants samples instead of the likeliest words, or shows what is neither image nor
                video.
        """
        real = [
            number for number, one in enumerate(requests) if not (one.metadata or {}).get("__padding_only__")
        ]
        replies: dict[int, Reply] = {}
        for numbers in self._batches(requests, real):
            asked = [
                self._reads(requests[number], self._doc(requests[number]), self.frames) for number in numbers
            ]
            tokens, until = _limits(self._options(requests[numbers[0]]))
            for number, reply in zip(
                numbers, self.responder.respond(asked, max_new_tokens=tokens, until=until), strict=True
            ):
                replies[number] = reply
            self._note([(requests[number], replies[number]) for number in numbers])
        return [
            GenerationResult(
                replies[number].text, TokenCounts(replies[number].input_tokens, replies[number].output_tokens)
            )
            if number in replies
            else GenerationResult("")
            for number in range(len(requests))
        ]

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Refused.

        Raises:
            ValueError: Always: none of the benchmarks asks for it.
        """
        raise ValueError("loglikelihood is not what gazekit answers; take a task that generates")

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[str]:
        """Refused.

        Raises:
            ValueError: Always: none of the benchmarks asks for it.
        """
        raise ValueError("several rounds are not what gazekit answers; take a task of one round")

    def _batches(self, requests: Sequence[Instance], numbers: Sequence[int]) -> list[list[int]]:
        """Neighbours that end alike, so many at a time."""
        batches: list[list[int]] = []
        before: Any = None
        for number in numbers:
            ends = (requests[number].args[-2], _limits(self._options(requests[number])))
            if ends != before or len(batches[-1]) == self.batch_size:
                batches.append([])
            batches[-1].append(number)
            before = ends
        return batches

    def _options(self, request: Instance) -> Mapping[str, Any]:
        return next(part for part in request.args if isinstance(part, dict))

    def _doc(self, request: Instance) -> Any:
        doc_id, task, split = request.args[-3:]
        return self.task_dict[task][split][doc_id]

    def _note(self, answered: Sequence[tuple[Instance, Reply]]) -> None:
        """Appends what was attended to the file beside."""
        if not self.sidecar:
            return
        path = Path(self.sidecar)
        if self.rank:
            path = path.with_name(f"{path.stem}-{self.rank}{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            for request, reply in answered:
                doc_id, task, split = request.args[-3:]
                line = {"task": task, "split": split, "doc_id": doc_id, **reply.attended}
                file.write(json.dumps(line) + "\n")


def _chat(request: Instance, doc: Any, frames: int) -> Question:
    """What a request shows and asks, from its messages."""
    asked = ChatMessages(messages=request.args[1](doc))
    images, videos, sounds = asked.extract_media()
    if sounds:
        raise ValueError("sound is not what gazekit hears; take a task of images or videos")
    messages = [
        {
            "role": one.role,
            "content": [
                {"type": "text", "text": part.text} if part.type == "text" else {"type": part.type}
                for part in one.content
            ],
        }
        for one in asked.messages
    ]
    return Question(messages=messages, images=images, videos=[read_frames(one, frames) for one in videos])


def _plain(request: Instance, doc: Any, frames: int) -> Question:
    """What a request shows and asks, from its prompt and what lies beside."""
    shown = request.args[2](doc) or []
    videos = [one for one in shown if isinstance(one, str) and Path(one).suffix.lower() not in PICTURES]
    images = [one for one in shown if one not in videos]
    content = [*({"type": "video"} for _ in videos), *contents(request.args[0], len(images))]
    return Question(
        messages=[{"role": "user", "content": content}],
        images=images,
        videos=[read_frames(one, frames) for one in videos],
    )


class ChatModel(_Model):
    """Requests as messages: images and videos where the task puts them."""

    is_simple = False
    _reads = staticmethod(_chat)


class PlainModel(_Model):
    """Requests as a prompt beside what is shown, which comes first."""

    is_simple = True
    _reads = staticmethod(_plain)


def _limits(options: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """Most new tokens, and what ends an answer."""
    if options.get("do_sample") or options.get("temperature", 0) > 0:
        raise ValueError("answers are the likeliest words: leave do_sample false and temperature 0")
    until = options.get("until") or ()
    return int(options.get("max_new_tokens", MAX_NEW_TOKENS)), (until,) if isinstance(until, str) else tuple(
        until
    )
