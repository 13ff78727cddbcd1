"""Layouts from the media of a batch: places, units, clips, orders, and what does not match."""

import pytest
import torch

from gazekit.contracts import Kind
from gazekit.models.retrofit import Media, grid, joined, layout_of_media, runs

IMAGE, VIDEO, FIRST, SECOND = 90, 91, 80, 81


def ids(*rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Left-padded ids (0 = padding) and which are real."""
    longest = max(map(len, rows))
    padded = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    return padded, padded != 0


def lay(rows, media, context=()):
    return layout_of_media(*ids(*rows), media, (IMAGE, VIDEO), context)


def test_images_of_different_sizes_get_their_own_grids():
    made = lay(
        [[1, *[IMAGE] * 6, 2, *[IMAGE] * 2], [3, *[IMAGE] * 4]], Media([grid(2, 3), grid(1, 2), grid(2, 2)])
    )
    assert made.kind[0].tolist() == [1, *[2] * 6, 1, 2, 2]
    assert made.tokens.unit[0, 0].tolist() == [-1, *[0] * 6, -1, 1, 1]
    assert made.place[0, 1:7].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0], [0, 1, 1], [0, 1, 2]]
    assert made.kind[1, :5].tolist() == [Kind.PAD] * 5
    assert made.tokens.order[1, 0, 5:].tolist() == [0, 1, 2, 3, 4]
    assert made.clip[1, -4:].tolist() == [0] * 4


def test_a_video_has_a_unit_for_each_frame_even_with_text_between_them():
    made = lay([[VIDEO, VIDEO, 7, VIDEO, VIDEO, IMAGE]], Media(images=[grid(1, 1)], videos=[grid(1, 2, 2)]))
    assert made.tokens.unit[0, 0].tolist() == [0, 0, -1, 1, 1, 2]
    assert made.place[0, :, 0].tolist() == [0, 0, -1, 1, 1, 0]
    assert made.clip[0].tolist() == [0, 0, -1, 0, 0, 1]


def test_tiles_of_one_image_are_one_unit_on_grids_of_their_own():
    made = lay([[*[IMAGE] * 5, *[IMAGE] * 2]], Media([joined([grid(2, 2), grid(1, 1)]), grid(1, 2)]))
    assert made.tokens.unit[0, 0].tolist() == [0] * 5 + [1] * 2
    assert made.clip[0].tolist() == [0] * 4 + [1] + [2] * 2


def test_tokens_that_see_each_other_share_an_order():
    made = lay([[1, *[IMAGE] * 3, 2]], Media([grid(1, 3, mutual=True)]))
    assert made.tokens.order[0, 0].tolist() == [0, 3, 3, 3, 4]


def test_context_tokens_belong_to_the_unit_whose_turn_it_is():
    rows = [[IMAGE, FIRST, SECOND, 5, VIDEO, VIDEO, FIRST, SECOND, FIRST, SECOND]]
    made = lay(rows, Media([grid(1, 1)], [grid(1, 1, 2)]), (FIRST, SECOND))
    assert made.kind[0].tolist() == [2, 3, 3, 1, 2, 2, 3, 3, 3, 3]
    assert made.tokens.unit[0, 0].tolist() == [0, 0, 0, -1, 1, 2, 1, 1, 2, 2]
    assert made.clip[0].tolist() == [0, 0, 0, -1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("rows", "media", "context", "message"),
    [
        ([[IMAGE] * 3], Media([grid(2, 2)]), (), "placeholders for 3 more image tokens, but the next image"),
        ([[1], [IMAGE]], Media(), (), "sample 1 has placeholders for 1 more image tokens, but none is left"),
        ([[1, 2]], Media([grid(1, 1)]), (), "no placeholders for the last 1 images"),
        ([[IMAGE, VIDEO, IMAGE]], Media([grid(1, 2)], [grid(1, 1)]), (), "for 2 more image tokens, but the next image"),
        ([[IMAGE, FIRST]], Media([grid(1, 1)]), (FIRST, SECOND), "2 context tokens for each of its 1 images"),
    ],
)  # fmt: skip
def test_what_does_not_match_is_named(rows, media, context, message):
    with pytest.raises(ValueError, match=message):
        lay(rows, media, context)


def test_runs_are_measured():
    assert runs(torch.tensor([True, True, False, True])) == [2, 1]
    assert runs(torch.tensor([False, False])) == []
