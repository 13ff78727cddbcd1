from dataclasses import replace

import pytest
import torch

from gazekit.partition import SegmentPartition
from tests.scenes import layout


def segmented(text: str, *segments: int):
    prompt = layout(text)
    return replace(prompt, segment=torch.tensor([segments]))


def test_segments_span_frames_and_lie_anywhere():
    prompt = segmented("v1x3 t1 +1x3 t1", 7, 2, 7, -1, 2, 2, 7, -1)
    regions = SegmentPartition()(prompt)
    assert regions.owner.tolist() == [[0, 1, 0, -1, 1, 1, 0, -1]]
    assert regions.size.tolist() == [[3, 3]]


def test_segments_of_two_clips_are_apart_and_the_rest_of_a_clip_is_a_region():
    regions = SegmentPartition()(segmented("v1x3 v1x2", 0, -1, -2, 0, -1))
    assert regions.owner.tolist() == [[0, 1, 1, 2, 3]]


def test_text_alone_needs_no_segments():
    assert SegmentPartition()(layout("t3")).count == 0


def test_refuses_images_without_segments():
    with pytest.raises(ValueError, match=r"layout.segment must say the segment .*; .* or use GridPartition"):
        SegmentPartition()(layout("t1 v1x2"))
