"""The layout of a prompt that exists only in numbers: images and videos of given grids, then text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from gazekit.contracts import Kind, TokenLayout, Tokens

Clip = tuple[int, int, int]
"""Frames, rows and columns; an image has one frame."""


def prompt_layout(clips: Sequence[Clip], *, num_context: int = 0, num_text: int = 0) -> TokenLayout:
    """One prompt: each clip's frames, each with its context tokens behind it, and the text at the end.

    >>> prompt_layout([(2, 3, 4)], num_context=1, num_text=5).length
    31

    Args:
        clips: Images and videos in their order; grids may differ.
        num_context: Context tokens of each image or frame.
        num_text: Text tokens.

    Raises:
        ValueError: A clip is not three whole numbers of at least 1, or a number is negative.
    """
    for clip in clips:
        if len(clip) != 3 or min(clip) < 1:
            raise ValueError(f"clips must be (frames, rows, columns) of at least 1 each, got {clip!r}")
    if num_context < 0 or num_text < 0:
        raise ValueError(f"num_context and num_text must be at least 0, got {num_context} and {num_text}")
    kinds, units, owners, places = [], [], [], []
    for number, (frames, rows, columns) in enumerate(clips):
        t, y, x = torch.meshgrid(
            torch.arange(frames), torch.arange(rows), torch.arange(columns), indexing="ij"
        )
        place = torch.stack([t, y, x], dim=-1).flatten(1, 2)
        place = torch.cat([place, torch.full((frames, num_context, 3), -1)], dim=1)
        kind = torch.full(place.shape[:2], int(Kind.VISUAL))
        kind[:, rows * columns :] = int(Kind.CONTEXT)
        before = sum(clip[0] for clip in clips[:number])
        kinds.append(kind.flatten())
        units.append((before + torch.arange(frames)[:, None]).expand_as(kind).flatten())
        owners.append(torch.full_like(kind, number).flatten())
        places.append(place.flatten(0, 1))
    none = torch.full((num_text,), -1)
    kind = torch.cat([*kinds, torch.full((num_text,), int(Kind.TEXT))])[None, None]
    tokens = Tokens(
        kind=kind,
        unit=torch.cat([*units, none])[None, None],
        document=torch.zeros_like(kind),
        order=torch.arange(kind.shape[-1])[None, None],
        owner=torch.full_like(kind, -1),
    )
    return TokenLayout(
        tokens=tokens,
        clip=torch.cat([*owners, none])[None],
        place=torch.cat([*places, none[:, None].expand(-1, 3)])[None],
    )


def stood_in(layout: TokenLayout) -> TokenLayout:
    """The layout with what figures need in place of what would come from outside, where it has none.

    Each image or frame is a segment, and the map is even: neither says where to look.
    """
    unit = layout.tokens.unit[:, 0].masked_fill(layout.kind != Kind.VISUAL, -1)
    return replace(
        layout,
        segment=unit if layout.segment is None else layout.segment,
        prior=torch.zeros(layout.kind.shape, device=unit.device) if layout.prior is None else layout.prior,
    )
