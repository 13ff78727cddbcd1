"""One question about one's own images, from a saved model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from gazekit.contracts.device import choose_device
from gazekit.models.config import CambrianConfig
from gazekit.models.pictures import ImageLike, open_picture
from gazekit.models.retrofit.processors import Conversations
from gazekit.models.saved import open_saved


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
    place, pictures = choose_device(device), [open_picture(image) for image in images]
    content = [*({"type": "image"} for _ in images), {"type": "text", "text": ask}]
    messages = [{"role": "user", "content": content}]
    model, processor = open_saved(model_dir, device=place, imports=imports)
    if model.config.model_type == CambrianConfig.model_type:
        prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
        inputs = processor(text=prompt, images=pictures)
    else:
        inputs = Conversations(processor).encode_question(messages, pictures)
    inputs = inputs.to(place)
    out = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    return str(processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()
