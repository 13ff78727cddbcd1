"""One question about one's own images, from a saved model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from gazekit.contracts.device import choose_device
from gazekit.models.cambrian import CambrianForConditionalGeneration
from gazekit.models.pictures import ImageLike
from gazekit.models.processor import CambrianProcessor


def generate(
    model_dir: str | os.PathLike,
    images: Sequence[ImageLike],
    ask: str,
    *,
    max_new_tokens: int = 64,
    device: str = "auto",
    imports: Iterable[str] = (),
) -> str:
    """What a saved model answers, greedily.

    Args:
        model_dir: Where `save_pretrained` of the model and of its processor wrote.
        images: Images that are shown before the question, in order.
        ask: The question.
        max_new_tokens: Tokens of the answer at most.
        device: "auto" (CUDA, then MPS, then CPU), or a torch device.
        imports: Modules of one's own that the model's composition names.

    Raises:
        ValueError: An image cannot be decoded, or the composition names what may not be imported.
    """
    processor = CambrianProcessor.from_pretrained(model_dir)
    place = choose_device(device)
    model = (
        CambrianForConditionalGeneration.from_pretrained(model_dir, imports=tuple(imports)).to(place).eval()
    )
    content = [*({"type": "image"} for _ in images), {"type": "text", "text": ask}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(text=prompt, images=list(images)).to(place)
    out = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    return processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
