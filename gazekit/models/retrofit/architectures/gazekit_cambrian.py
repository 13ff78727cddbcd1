"""The Cambrian model: every image and frame has the same grid; videos are clips of several units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from gazekit.models.retrofit.media import Media, Medium, grid


@dataclass(frozen=True)
class CambrianAdapter:
    """Images and videos by `clip_lengths`: units of each, in the order of the prompt; by default all are images."""

    inputs: tuple[str, ...] = ("clip_lengths",)

    def visual_ids(self, config: PreTrainedConfig) -> tuple[int, int | None]:
        """As the config names them."""
        return config.image_token_id, config.video_token_id

    def media(
        self,
        config: PreTrainedConfig,
        input_ids: Int[Tensor, "batch token"],
        valid: Bool[Tensor, "batch token"],
        given: Mapping[str, Tensor],
    ) -> Media:
        """One medium for each clip; which kind it is, its first placeholder says."""
        visual = torch.isin(input_ids, torch.tensor(self.visual_ids(config), device=input_ids.device)) & valid
        rows, columns = config.grid
        images: list[Medium] = []
        videos: list[Medium] = []
        for sample, marks in enumerate(visual):
            is_video = (input_ids[sample, marks] == config.video_token_id).tolist()
            lengths = [1] * (len(is_video) // config.num_visual)
            if "clip_lengths" in given:
                lengths = [length for length in given["clip_lengths"][sample].tolist() if length > 0]
            begin = 0
            for length in lengths:
                clips = videos if any(is_video[begin : begin + 1]) else images
                clips.append(grid(rows, columns, length))
                begin += length * config.num_visual
        return Media(images=images, videos=videos)


ADAPTER = CambrianAdapter()
