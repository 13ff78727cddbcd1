"""Cuts an encoded conversation to a length, never inside an image or frame."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gazekit.contracts import TooLongError

_IGNORED = -100


def truncate(
    encoded: Mapping[str, Tensor], length: int, *, num_visual: int, num_context: int, ids: Mapping[str, int]
) -> dict[str, Tensor]:
    """The beginning of a conversation: its text, and the images and frames that stand in it whole.

    Args:
        encoded: What the processor makes of a conversation: `input_ids` and `labels` [token], `pixel_values`
            [unit 3 height width], `clip_lengths` [clip].
        length: Most tokens.
        num_visual: Visual tokens of an image or frame.
        num_context: Context tokens behind them.
        ids: Of the placeholders, `image_token_id` and so on.

    Raises:
        TooLongError: Nothing that is left is supervised.
    """
    tokens = encoded["input_ids"]
    cut = min(length, len(tokens))
    placeholders = torch.tensor([ids[f"{kind}_token_id"] for kind in ("image", "video", "context")])
    in_unit = torch.isin(tokens, placeholders)
    units, part = divmod(int(in_unit[:cut].sum()), num_visual + num_context)
    if part:  # the cut falls into a unit; all of it goes
        cut -= part
    labels = encoded["labels"][:cut]
    if not (labels[1:] != _IGNORED).any():
        raise TooLongError(
            f"the conversation must have an answer within {length} tokens, but none begins before token {cut} of "
            f"{len(tokens)}, images included; allow more tokens, or show fewer images"
        )
    clips = encoded["clip_lengths"]
    before = clips.cumsum(0) - clips
    shown = torch.minimum(clips, (units - before).clamp_min(0))
    return {
        **encoded,
        "input_ids": tokens[:cut],
        "labels": labels,
        "pixel_values": encoded["pixel_values"][:units],
        "clip_lengths": shown[shown > 0],
    }
