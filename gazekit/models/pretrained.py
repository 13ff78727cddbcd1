"""A Cambrian out of parts that others have trained: a SigLIP tower and a Qwen decoder, or an earlier run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, SiglipVisionConfig

from gazekit.models.carry import load_projector
from gazekit.models.config import CambrianConfig
from gazekit.models.gaze import Section, section_of
from gazekit.models.join import Trained, join, read_parts, read_run, run_config
from gazekit.models.known import known_text, known_vision
from gazekit.models.processor import CambrianProcessor
from gazekit.models.quantize import leave_out
from gazekit.models.retrofit.lora import Lora
from gazekit.models.scratch import Cambrian, shape_fields
from gazekit.models.tokens import token_ids

_TEXT_SIZES = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
_VISION_SIZES = ("hidden_size", "num_hidden_layers", "image_size", "patch_size")


@dataclass(frozen=True, kw_only=True)
class FromPretrained:
    """Describes a Cambrian by a pretrained tower and decoder; what lies between them is drawn at random.

    Attributes:
        text: Folder or hub name of a Qwen3 or Qwen2 language model, tokenizer included.
        vision: Folder or hub name of a SigLIP model, image processor included.
        start: Folder of an earlier run, or of a saved Cambrian, of the same tower and decoder: all weights start from
            it. What it does not have is new, and a compressor that comes in starts as the mean. None = from `text`
            and `vision`.
        projector: File of a projector that the code of Cambrian or LLaVA saved (`mm_projector.bin`); None = drawn, or
            that of `start`.
        dtype: Type of the weights, by torch's name.
        lora: Low-rank adapters in the decoder, the part "lora" of training; they are folded in when the model is saved.
            None = none.
        quantize: "nf4" keeps the decoder in four bits while adapters are trained (QLoRA); its frozen weights are in no
            checkpoint, since they follow from what is named here. None = as `dtype` says.
        vision_layer: Which features of the tower (`CambrianConfig`, which says what the following mean too).
        image_size: Height and width of an image in pixels; None = the tower's own, times `image_tiles`.
        image_tiles: Rows and columns of tiles that an image is cut into.
        resize: "squash" or "pad".
        compressor: None, "average", "max", "bilinear", "conv2x2" or "unshuffle".
        compressor_grid: Rows and columns that the first three of them leave; None = half of each.
        compressor_place: "before" the projector or "after" it.
        frames_per_unit: Frames of a video that become one unit.
        place_embedding: Whether learned row and column embeddings are added after the projector.
        row_newlines: Whether every row ends in a learned newline.
        max_tiles: Most tiles of an image of high resolution (anyres); 0 = none.
        time_stamps: How times of frames are written: "seconds", "clock" or None.

    Raises:
        ValueError: `quantize` is given without `lora`: four bits cannot be trained.
    """

    text: str
    vision: str
    start: str | None = None
    projector: str | None = None
    dtype: str = "float32"
    lora: Lora | None = None
    quantize: Literal["nf4"] | None = None
    vision_layer: int | str = -2
    image_size: int | Sequence[int] | None = None
    image_tiles: Sequence[int] = (1, 1)
    resize: str = "squash"
    compressor: str | None = None
    compressor_grid: int | Sequence[int] | None = None
    compressor_place: str = "before"
    frames_per_unit: int = 1
    place_embedding: bool = False
    row_newlines: bool = False
    max_tiles: int = 0
    time_stamps: str | None = "seconds"

    def __post_init__(self) -> None:
        if self.quantize is not None and self.lora is None:
            raise ValueError(
                f"quantize {self.quantize!r} needs lora: four bits cannot be trained; "
                "give model.lora.rank, or leave quantize out"
            )

    def make(self, *, gaze: Section | None = None, imports: Iterable[str] = (), seed: int = 0) -> Cambrian:
        """Loads the parts and draws the rest; the same seed gives the same weights.

        Args:
            gaze: The composition as a recipe writes it; None = dense.
            imports: Modules beside gazekit that the composition may name.
            seed: Seeds torch.

        Raises:
            ValueError: What `CambrianConfig` refuses; `start` holds no Cambrian, or one of another tower or decoder.
            ImportError: peft or bitsandbytes is wanted and not installed.
        """
        found = self._read(tuple(imports), seed)
        config = self._config(found.text, found.tower.config, found.ids, gaze)
        model = join(config, found, imports, getattr(torch, self.dtype))
        if self.projector is not None:
            load_projector(model, self.projector)
        if self.lora is not None:
            model.add_lora(self.lora)
        if self.quantize is not None:
            leave_out(model)
        return Cambrian(model, CambrianProcessor.from_config(config, found.tokenizer, found.images))

    def config(self, *, gaze: Section | None = None) -> CambrianConfig:
        """What `make` gives the model, from configs alone: no weights are read.

        The towers and decoders of the published models are known without a network; of others the configs and the
        tokenizer are read. `start` is not read.

        Args:
            gaze: As for `make`.

        Raises:
            ValueError: What `CambrianConfig` refuses.
        """
        known = known_text(self.text)
        if known is not None:
            return self._config(known.config, self._vision(), known.ids, gaze)
        tokenizer = AutoTokenizer.from_pretrained(self.text)
        text = AutoConfig.from_pretrained(self.text)
        ids = token_ids(tokenizer)
        text.vocab_size = max(text.vocab_size, len(tokenizer))
        return self._config(text, self._vision(), ids, gaze)

    def _vision(self) -> SiglipVisionConfig:
        known = known_vision(self.vision)
        return known or SiglipVisionConfig.from_pretrained(self.vision, vision_use_head=False)

    def _text(self) -> PreTrainedConfig:
        known = known_text(self.text)
        return AutoConfig.from_pretrained(self.text) if known is None else known.config

    def _read(self, imports: tuple[str, ...], seed: int) -> Trained:
        quantized = self.quantize is not None
        if self.start is None:
            return read_parts(self.text, self.vision, self.dtype, quantized=quantized, seed=seed)
        folder = Path(self.start)
        self._check_start(run_config(folder))
        return read_run(folder, self.dtype, quantized=quantized, imports=imports, seed=seed)

    def _check_start(self, found: CambrianConfig) -> None:
        """Refuses a run of another tower or decoder before its weights are read."""
        for part, wanted, given, sizes in (
            ("text", self._text(), found.text_config, _TEXT_SIZES),
            ("vision", self._vision(), found.vision_config, _VISION_SIZES),
        ):
            other = [name for name in sizes if getattr(wanted, name) != getattr(given, name)]
            if other:
                said = ", ".join(f"{name} {getattr(given, name)}" for name in other)
                want = ", ".join(f"{getattr(wanted, name)}" for name in other)
                raise ValueError(
                    f"start must be a run of the model's own {part} ({getattr(self, part)}), got one with {said} where "
                    f"that has {want}; name the {part} that {self.start} was trained with"
                )

    def _config(
        self,
        text: PreTrainedConfig,
        vision: PreTrainedConfig,
        ids: Mapping[str, int],
        gaze: Section | None,
    ) -> CambrianConfig:
        size = self.image_size
        return CambrianConfig(
            text_config=text,
            vision_config=vision,
            gaze=section_of(gaze),
            image_size=size if size is None or isinstance(size, int) else list(size),
            **shape_fields(self),
            **ids,
        )
