"""A saved model that answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import BatchFeature, LogitsProcessorList
from transformers.cache_utils import Cache
from transformers.generation.streamers import BaseStreamer

from gazekit.contracts.device import choose_device
from gazekit.gaze.cache import cache_name
from gazekit.models.answering.prompts import CambrianPrompts, Prompts, StockPrompts
from gazekit.models.answering.question import Question
from gazekit.models.answering.sampling import Sampling
from gazekit.models.answering.streaming import WordStreamer
from gazekit.models.config import CambrianConfig
from gazekit.models.retrofit.processors import Conversations
from gazekit.models.saved import open_saved


@dataclass(frozen=True)
class Generated:
    """What a model said.

    Attributes:
        prompt: The prompts' tokens, padded on the left.
        said: The tokens of the answers, padded on the right.
        cache: Keys and values of both, but for the last token; None where nobody asked for it.
    """

    prompt: Int[Tensor, "batch token"]
    said: Int[Tensor, "batch answer"]
    cache: Cache | None = None


class Answerer:
    """Answers questions about images and videos: a Cambrian, or a VLM of transformers.

    An answer does not depend on what else is in its batch, nor on whether it is streamed; sampled ones neither.

    Args:
        model: Ready to answer, on its device.
        prompts: Turns questions into a batch for it.
        decode: Tokens to text.
    """

    def __init__(self, model: Any, prompts: Prompts, decode: Callable[..., Any]) -> None:
        self.model, self.prompts, self._decode = model, prompts, decode

    @classmethod
    def load(
        cls, model_dir: str | os.PathLike, *, device: str = "auto", imports: Iterable[str] = ()
    ) -> Answerer:
        """A saved model with its processor, and with the gaze that it was saved with.

        Args:
            model_dir: Where `save_pretrained` of both wrote.
            device: "auto" (CUDA, then MPS, then CPU), or a torch device.
            imports: Modules of one's own that the model's composition names.

        Raises:
            ValueError: The composition names what may not be imported, or the processor of a VLM has no chat template.
        """
        model, processor = open_saved(model_dir, device=choose_device(device), imports=imports)
        prompts: Prompts
        if model.config.model_type == CambrianConfig.model_type:
            prompts = CambrianPrompts(processor)
        else:
            prompts = StockPrompts(Conversations(processor))
        return cls(model, prompts, processor.decode)

    def answer(self, questions: Sequence[Question], sampling: Sampling | None = None) -> list[str]:
        """The answers to several questions, in one batch.

        Args:
            questions: What is asked.
            sampling: How words are chosen; None = greedily.

        Raises:
            ValueError: A question and what it shows do not go together, or an image cannot be decoded.
        """
        said = self.generate(self.encode(questions), questions, sampling or Sampling()).said
        return [self.text_of(one.tolist()) for one in said]

    def stream(
        self, question: Question, say: Callable[[str], object], sampling: Sampling | None = None
    ) -> str:
        """The answer to one question, which is also said word by word; what was said, joined, is the answer.

        Args:
            question: What is asked.
            say: Told of each further piece of text.
            sampling: How words are chosen; None = greedily.
        """
        streamer = WordStreamer(self.text_of_all, say)
        made = self.generate(self.encode([question]), [question], sampling or Sampling(), streamer=streamer)
        return self.text_of(made.said[0].tolist())

    def encode(self, questions: Sequence[Question]) -> BatchFeature:
        """The batch of several questions, on the model's device, its pixels in the model's type."""
        inputs = self.prompts(questions).to(self.model.device)
        for name in [name for name in inputs if name.startswith("pixel_values")]:
            if inputs[name].is_floating_point():
                inputs[name] = inputs[name].to(self.model.dtype)
        return inputs

    def generate(
        self,
        inputs: BatchFeature,
        questions: Sequence[Question],
        sampling: Sampling,
        *,
        streamer: BaseStreamer | None = None,
        cache: Cache | None = None,
        keep: bool = False,
    ) -> Generated:
        """What the model says to a batch.

        Args:
            inputs: What `encode` gave.
            questions: The same that it was given, for their names.
            sampling: How words are chosen.
            streamer: Told of each token.
            cache: Keys and values of the beginning of the prompt.
            keep: Whether the cache is returned.
        """
        name = cache_name(self.model)
        more: dict[str, Any] = {} if cache is None else {name: cache}
        processors = sampling.processors([one.name for one in questions])
        if processors:
            more["logits_processor"] = LogitsProcessorList(processors)
        with torch.no_grad():
            out = self.model.generate(
                **inputs,
                **more,
                max_new_tokens=sampling.max_new_tokens,
                do_sample=False,
                streamer=streamer,
                return_dict_in_generate=True,
            )
        prompt = inputs["input_ids"]
        return Generated(prompt, out.sequences[:, prompt.shape[1] :], getattr(out, name) if keep else None)

    def text_of(self, tokens: Sequence[int]) -> str:
        """The answer that tokens say."""
        return self.text_of_all(tokens).strip()

    def text_of_all(self, tokens: Sequence[int]) -> str:
        """The same with the white space around it."""
        return str(self._decode(list(tokens), skip_special_tokens=True))
