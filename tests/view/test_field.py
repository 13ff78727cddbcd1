"""An image knows the region of each of its tokens, whatever divides it."""

import numpy as np
import pytest
import torch
from PIL import Image

from gazekit import GridPartition
from gazekit.contracts import regions_from_owner
from gazekit.gaze import prompt_layout
from gazekit.view import Field

IMAGE = Image.new("RGB", (60, 40))


def field(clips, size, unit=0):
    layout = prompt_layout(clips, num_context=2, num_text=1)
    return Field.of(IMAGE, layout, GridPartition(size=size)(layout), unit=unit)


def test_every_token_has_its_region():
    one = field([(1, 2, 3)], (1, 2, 2))
    assert one.owner.tolist() == [[0, 0, 1], [0, 0, 1]]
    assert one.regions == [0, 1]


def test_the_frames_of_a_video_and_a_second_image_have_theirs():
    clips = [(2, 1, 2), (1, 2, 1)]
    assert field(clips, (2, 1, 1), unit=0).owner.tolist() == [[0, 1]]
    assert field(clips, (2, 1, 1), unit=1).owner.tolist() == [[0, 1]]
    assert field(clips, (2, 1, 1), unit=2).owner.tolist() == [[2], [3]]


def test_regions_that_are_no_boxes_and_tokens_of_none():
    layout = prompt_layout([(1, 2, 2)])
    one = Field.of(IMAGE, layout, regions_from_owner(torch.tensor([[0, 1, -1, 0]]), layout))
    assert one.owner.tolist() == [[0, 1], [-1, 0]]
    assert one.regions == [0, 1]
    heat = one.spread(torch.tensor([0.5, 2.0]))
    assert heat[0].tolist() == [0.5, 2.0]
    assert np.isnan(heat[1, 0])
    assert one.within(torch.tensor([True, False])).tolist() == [[True, False], [False, True]]


def test_units_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="unit must be an image or frame of sample 0, got 3"):
        field([(2, 1, 2)], (1, 1, 1), unit=3)


def test_borders_lie_between_regions_and_around_the_image():
    one = field([(1, 2, 3)], (1, 2, 2))
    inside = one.borders(one.owner, frame=False)
    assert sorted(inside.tolist()) == [[[39.5, -0.5], [39.5, 19.5]], [[39.5, 19.5], [39.5, 39.5]]]
    around = one.borders(one.owner)
    assert len(around) == len(inside) + 2 * 2 + 2 * 3
    assert around.min() == -0.5
    assert around.reshape(-1, 2).max(axis=0).tolist() == [59.5, 39.5]
    flat = field([(1, 2, 2)], (1, 1, 2))
    assert sorted(flat.borders(flat.owner, frame=False).tolist()) == [
        [[-0.5, 19.5], [29.5, 19.5]],
        [[29.5, 19.5], [59.5, 19.5]],
    ]


def test_pixels_repeat_the_token_that_covers_them():
    one = field([(1, 2, 3)], (1, 2, 2))
    pixels = one.pixels(np.array([[1, 2, 3], [4, 5, 6]]))
    assert pixels.shape == (40, 60)
    assert pixels[0, [0, 19, 20, 59]].tolist() == [1, 1, 2, 3]
    assert pixels[[19, 20], 59].tolist() == [3, 6]
