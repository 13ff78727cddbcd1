"""A conversation of several turns, with images and videos in any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from gazekit.models.answering.answerer import Answerer
from gazekit.models.answering.question import Question
from gazekit.models.answering.sampling import Sampling
from gazekit.models.answering.streaming import WordStreamer
from gazekit.models.pictures import ImageLike, open_picture
from gazekit.models.retrofit.versions import goes_on


class Talk:
    """Asks turn after turn; every answer knows all that was shown and said before.

    What a gaze model's cache has seen is not shown to it again, as long as the conversation, written anew, begins with
    exactly those tokens; else, and without gaze, the whole of it is read again. The answers are the same.

    Args:
        answerer: The model.
        system: What the system says at the beginning; None = nothing.
        sampling: How words are chosen; None = greedily.

    Attributes:
        messages: What was said so far, answers included.
        reused: Tokens of the last prompt that were in the cache.
    """

    def __init__(
        self, answerer: Answerer, *, system: str | None = None, sampling: Sampling | None = None
    ) -> None:
        self.answerer = answerer
        self.sampling = sampling or Sampling()
        self.system = system
        self.reset()

    def reset(self) -> None:
        """Forgets everything but what the system says."""
        said = [] if self.system is None else [_message("system", [{"type": "text", "text": self.system}])]
        self.messages: list[Mapping[str, Any]] = said
        self._images: list[ImageLike] = []
        self._videos: list[Sequence[ImageLike]] = []
        self._times: list[Sequence[float] | None] = []
        self._kept: tuple[Tensor, Cache] | None = None
        self.reused = 0

    def ask(
        self,
        text: str,
        *,
        images: Sequence[ImageLike] = (),
        videos: Sequence[Sequence[ImageLike]] = (),
        timestamps: Sequence[Sequence[float] | None] = (),
        say: Callable[[str], object] | None = None,
    ) -> str:
        """The answer to the next question. If there is none, the conversation stays as it was.

        Args:
            text: The question.
            images: What is shown before it from now on.
            videos: Frames of what is shown behind them.
            timestamps: Seconds of each frame of each of these videos; empty = not known.
            say: Told of each further piece of the answer.

        Raises:
            ValueError: An image cannot be decoded, or the model takes none of these.
        """
        shown = [*({"type": "image"} for _ in images), *({"type": "video"} for _ in videos)]
        turn = _message("user", [*shown, {"type": "text", "text": text}])
        question = Question(
            messages=[*self.messages, turn],
            images=[*self._images, *map(open_picture, images)],
            videos=[*self._videos, *videos],
            timestamps=[*self._times, *(timestamps or [None] * len(videos))],
            name=f"turn {sum(one['role'] == 'user' for one in self.messages)}",
        )
        answer = self._answer(question, say)
        self.messages = [*question.messages, _message("assistant", [{"type": "text", "text": answer}])]
        self._images, self._videos, self._times = (
            list(question.images),
            list(question.videos),
            list(question.timestamps),
        )
        return answer

    def _answer(self, question: Question, say: Callable[[str], object] | None) -> str:
        answerer = self.answerer
        inputs = answerer.encode([question])
        goes = goes_on(answerer.model)
        cache, self._kept = self._cache(inputs["input_ids"]), None
        self.reused = 0 if cache is None else cache.get_seq_length()
        made = answerer.generate(
            inputs,
            [question],
            self.sampling,
            streamer=None if say is None else WordStreamer(answerer.text_of_all, say),
            cache=cache,
            keep=goes,
        )
        if made.cache is not None:
            self._kept = (torch.cat([made.prompt, made.said], dim=1), made.cache)
        return answerer.text_of(made.said[0].tolist())

    def _cache(self, prompt: Tensor) -> Cache | None:
        """The cache of what was said, if the prompt begins with it."""
        if self._kept is None:
            return None
        seen, cache = self._kept
        length = cache.get_seq_length()
        same = 0 < length < prompt.shape[1] and torch.equal(seen[:, :length], prompt[:, :length])
        return cache if same else None


def _message(role: str, content: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return {"role": role, "content": list(content)}
