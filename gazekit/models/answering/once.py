"""One question about one's own images, from a saved model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from gazekit.models.answering.answerer import Answerer
from gazekit.models.answering.question import Question
from gazekit.models.answering.sampling import Sampling
from gazekit.models.pictures import ImageLike, open_picture


def generate(
    model_dir: str | os.PathLike,
    images: Sequence[ImageLike],
    ask: str,
    *,
    max_new_tokens: int = 64,
    device: str = "auto",
    imports: Iterable[str] = (),
) -> str:
    """What a saved model answers, greedily: a Cambrian, or a VLM of transformers with the gaze that it was saved with.

    `Answerer` keeps a model for more than one question.

    Args:
        model_dir: Where `save_pretrained` of the model and of its processor wrote.
        images: Images that are shown before the question, in order.
        ask: The question.
        max_new_tokens: Tokens of the answer at most.
        device: "auto" (CUDA, then MPS, then CPU), or a torch device.
        imports: Modules of one's own that the model's composition names.

    Raises:
        ValueError: An image cannot be decoded, the composition names what may not be imported, or the processor of a
            VLM has no chat template.
    """
    pictures = [open_picture(image) for image in images]
    content = [*({"type": "image"} for _ in images), {"type": "text", "text": ask}]
    question = Question(messages=[{"role": "user", "content": content}], images=pictures)
    answerer = Answerer.load(model_dir, device=device, imports=imports)
    return answerer.answer([question], Sampling(max_new_tokens=max_new_tokens))[0]
