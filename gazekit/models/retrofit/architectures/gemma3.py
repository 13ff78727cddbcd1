"""Gemma 3: a fixed grid an image, whose tokens see each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from gazekit.models.retrofit.media import Media, grid, runs
from gazekit.models.retrofit.tiles import alike


@dataclass(frozen=True)
class Gemma3Adapter:
    """Images of `mm_tokens_per_image` tokens on a square grid; crops (pan and scan) are images of their own.

    The tokens of an image see each other when `token_type_ids` is given, in training and inference alike, as in the
    stock model; without it attention is causal. Layers with a sliding window stay stock.
    """

    inputs: tuple[str, ...] = ("pixel_values", "token_type_ids")

    def visual_ids(self, config: PreTrainedConfig) -> tuple[int, int | None]:
        """Images only."""
        return config.image_token_id, None

    def media(
        self,
        config: PreTrainedConfig,
        input_ids: Int[Tensor, "batch token"],
        valid: Bool[Tensor, "batch token"],
        given: Mapping[str, Tensor],
    ) -> Media:
        """As many images as the placeholders have room for.

        Raises:
            ValueError: `token_type_ids` makes other tokens than each image's see each other.
        """
        side = int(config.mm_tokens_per_image**0.5)
        mark = (input_ids == config.image_token_id) & valid
        types = given.get("token_type_ids")
        if types is not None:
            # Of a later turn the stock model wants the types of the whole conversation.
            _check(types[:, -mark.shape[1] :], mark, side**2)
        return Media(alike(mark, grid(side, side, mutual=types is not None)))


def _check(types: Int[Tensor, "batch token"], mark: Bool[Tensor, "batch token"], length: int) -> None:
    if not torch.equal((types == 1).cpu(), mark.cpu()):
        raise ValueError(
            "token_type_ids must be 1 on image placeholders and 0 elsewhere; pass it as the processor returned it"
        )
    # The stock model lets two images without text between them see each other; a grid each would not.
    if any(run > length for row in mark for run in runs(row)):
        raise ValueError(
            "input_ids must have text between images, got two images next to each other; prepare prompts with the "
            "processor, which puts marks around each"
        )


ADAPTER = Gemma3Adapter()
