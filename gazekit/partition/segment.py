"""Segments that something else has found."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gazekit.contracts import Kind, Regions, TokenLayout, regions_from_owner
from gazekit.partition._number import number


@dataclass(frozen=True, kw_only=True)
class SegmentPartition:
    """Takes the segments of `layout.segment` as regions: the shots of a video (MoC), masks of objects.

    Segments may have any shape and span the frames of a clip, never several clips: the same number in two clips
    is two regions. What a clip has outside every segment (-1) is one region more.
    """

    @property
    def kinds(self) -> frozenset[Kind]:
        """Visual tokens; text is in no region and so always in view."""
        return frozenset({Kind.VISUAL})

    def __call__(self, layout: TokenLayout) -> Regions:
        """The segments of a prompt.

        Raises:
            ValueError: There are visual tokens and no segments.
        """
        visual = layout.kind == Kind.VISUAL
        segment = layout.segment
        if segment is None:
            if bool(visual.any()):
                raise ValueError(
                    "layout.segment must say the segment of every visual token, got none; "
                    "give the layout segments, or use GridPartition"
                )
            segment = torch.full_like(layout.clip, -1)
        name = torch.stack([layout.tokens.document[:, 0], layout.clip, segment.clamp_min(-1)], dim=-1)
        return regions_from_owner(number(name, visual), layout)
