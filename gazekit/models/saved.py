"""A saved model and its processor, whatever architecture it is of."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from transformers import AutoModelForImageTextToText

from gazekit.models.anatomy import config_at
from gazekit.models.cambrian import CambrianForConditionalGeneration
from gazekit.models.config import CambrianConfig
from gazekit.models.processor import CambrianProcessor
from gazekit.models.readable import readable
from gazekit.models.retrofit.apply import apply_gaze
from gazekit.models.retrofit.processors import load_processor


def open_saved(
    model_dir: str | os.PathLike,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    imports: Iterable[str] = (),
) -> tuple[Any, Any]:
    """A model in eval mode and its processor: a Cambrian, or a VLM of transformers with the gaze it was saved with.

    No code that lies beside a model is run.

    Args:
        model_dir: Where `save_pretrained` of the model and of its processor wrote.
        device: Where the model goes.
        dtype: Type of the weights, by torch's name; None = as they were saved.
        imports: Modules of one's own that the model's composition names.

    Raises:
        ValueError: The composition names what may not be imported, or a file of weights is cut.
    """
    wanted = {} if dtype is None else {"dtype": dtype}
    model: Any
    processor: Any
    with readable(model_dir):
        if config_at(model_dir).model_type == CambrianConfig.model_type:
            processor = CambrianProcessor.from_pretrained(model_dir)
            model = CambrianForConditionalGeneration.from_pretrained(
                model_dir, imports=tuple(imports), **wanted
            )
        else:
            processor = load_processor(model_dir)
            model = AutoModelForImageTextToText.from_pretrained(model_dir, trust_remote_code=False, **wanted)
            if getattr(model.config, "gaze", None) is not None:
                model = apply_gaze(model, processor=processor, imports=imports)
    return model.to(device).eval(), processor
